"""Draws the README's figures of what streets_table has measured.

  python -m benchmarks.table_figures [--results=FOLDER] [--output=docs]

labels.png: mIoU against the number of labelled target images (paper 004);
patches.png: against the size of the aligned patches (paper 001, Fig. 8a);
ablation.png: of the steps S1 to S4 (paper 000, Table 3), both over the AdaBN
control of the same seed, as seeds differ more than methods do. Means and
standard deviations over seeds.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from absl import app, flags

from benchmarks import streets_table
from jaxuda.figures import charts
from jaxuda.utils.cli import run_cli
from jaxuda.utils.errors import UserError

_OUTPUT = flags.DEFINE_string('output', 'docs', 'Folder of the pictures.')


class Figure(NamedTuple):
  """Rows of a table along an axis.

  Attributes:
    table: whose results are drawn.
    xlabel: of the axis.
    ticks: its places.
    curves: a curve's name to the row's title at each place, None for a gap.
    control: the row of AdaBN that trains as long.
    paired: whether the control's mIoU of the same seed is subtracted.
  """

  table: str
  xlabel: str
  ticks: tuple[str, ...]
  curves: Mapping[str, tuple[str | None, ...]]
  control: str = streets_table.CONTROL
  paired: bool = True


FIGURES = {
  'labels': Figure(
    'labels',
    'labelled target images',
    ('0', '5', '20', '100'),
    {
      'ASS (GA + CSA; GA where there are none)': (
        '0 labels',
        '5 labels',
        '20 labels',
        '100 labels',
      ),
      'source and labels, no alignment': (
        None,
        '5 labels, unaligned',
        '20 labels, unaligned',
        '100 labels, unaligned',
      ),
      'labels alone': (
        *(None, '5 labels alone', '20 labels alone', '100 labels alone'),
      ),
    },
    paired=False,
  ),
  'patches': Figure(
    'patches',
    'side of the patches, pixels (maps of 96x192)',
    ('32', '48', '64', '80', '96', 'whole'),
    {
      'random patches': (
        *(f'patches of {side}' for side in (32, 48, 64, 80, 96)),
        'whole maps',
      )
    },
  ),
  'ablation': Figure(
    'methods',
    'joint global-local alignment',
    (
      *('S1: global, longer', 'S2: local pixels'),
      *('S3: no background', 'S4: mixture'),
    ),
    {'on AdaptSegNet': tuple(f'global-local, S{n}' for n in (1, 2, 3, 4))},
    control='AdaBN control, longer',
  ),
}


def curves(
  figure: Figure, miou: Mapping[str, Mapping[str, float]]
) -> dict[str, charts.Curve]:
  """The values of all seeds at each place that has been measured."""
  found = {}
  for name, titles in figure.curves.items():
    there = {x: miou.get(title) for x, title in enumerate(titles)}
    there = {x: list(values.values()) for x, values in there.items() if values}
    found[name] = charts.Curve(list(there), list(there.values()))
  return found


def over(
  miou: Mapping[str, Mapping[str, float]], control: str
) -> dict[str, dict[str, float]]:
  """Each value less the control's of the same seed; without it none."""
  base = miou[control]
  return {
    title: {seed: v - base[seed] for seed, v in values.items() if seed in base}
    for title, values in miou.items()
  }


def draw(name: str, figure: Figure, folder: pathlib.Path) -> pathlib.Path:
  """Draws one figure; its path.

  Raises:
    UserError: its table has not been measured.
  """
  results = streets_table.path_of(figure.table)
  if not results.exists():
    raise UserError(
      f'{results} is missing: '
      f'python -m benchmarks.streets_table --table={figure.table}'
    )
  miou = json.loads(results.read_text())['miou']
  if figure.paired:
    miou = over(miou, figure.control)
  path = folder / f'{name}.png'
  charts.curves(
    path,
    curves(figure, miou),
    xlabel=figure.xlabel,
    ylabel='mIoU over the control, points' if figure.paired else 'mIoU, %',
    levels={
      title: list(miou[title].values())
      for title in ['source-only'] * (not figure.paired) + [figure.control]
    },
    ticks=dict(enumerate(figure.ticks)),
  )
  return path


def main(argv) -> None:
  del argv
  for name, figure in FIGURES.items():
    print(draw(name, figure, pathlib.Path(_OUTPUT.value)))


if __name__ == '__main__':
  app.run(lambda argv: run_cli(main, argv))
