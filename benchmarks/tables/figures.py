"""Draw the README's figures of what measure.py has found.

  python -m benchmarks.tables.figures [--results=FOLDER] [--output=docs]

labels.png: mIoU against the number of labelled target images (ASS);
patches.png: against the size of the aligned patches (ACCV 2020, Fig. 8a);
ablation.png: of the steps S1 to S4 (ICIP 2020, Table 3), both over the AdaBN
control of the same seed, as seeds differ more than methods do. Means and
standard deviations over seeds.
"""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.tables import measure, results_file
from jaxuda.figures import charts
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('results', str(results_file.RESULTS), 'Of the JSON files.')
  command.text('output', 'docs', 'Folder of the pictures.')
  return command


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
  control: str = measure.CONTROL
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
  """Return the values of all seeds at each place that has been measured."""
  found = {}
  for name, titles in figure.curves.items():
    there = {x: miou.get(title) for x, title in enumerate(titles)}
    there = {x: list(values.values()) for x, values in there.items() if values}
    found[name] = charts.Curve(list(there), list(there.values()))
  return found


def over(
  miou: Mapping[str, Mapping[str, float]], control: str
) -> dict[str, dict[str, float]]:
  """Return each value less the control's of its seed, where there is one."""
  base = miou[control]
  return {
    title: {seed: v - base[seed] for seed, v in values.items() if seed in base}
    for title, values in miou.items()
  }


def draw(name: str, results: str, output: str) -> pathlib.Path:
  """Draw one figure; return its path.

  Args:
    name: of FIGURES.
    results: folder of the JSON files.
    output: folder of the pictures.

  Raises:
    UserError: its table has not been measured.
  """
  figure = FIGURES[name]
  measured = results_file.path_of(results, figure.table)
  if not measured.exists():
    raise UserError(
      f'{measured} is missing: '
      f'python -m benchmarks.tables.measure --table={figure.table}'
    )
  miou = json.loads(measured.read_text())['miou']
  if figure.paired:
    miou = over(miou, figure.control)
  path = pathlib.Path(output) / f'{name}.png'
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


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  for name in FIGURES:
    print(draw(name, command.values.results, command.values.output))
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
