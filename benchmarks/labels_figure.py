"""Draws docs/labels.png: mIoU against the number of labelled target images.

  python -m benchmarks.labels_figure [--results=FOLDER] [--output=PNG]

Reads what `python -m benchmarks.streets_table --table=labels` has measured.
"""

import json
import pathlib
from collections.abc import Mapping

from absl import app, flags

from benchmarks import streets_table
from jaxuda import charts
from jaxuda.errors import UserError, exit_with_sentence

_OUTPUT = flags.DEFINE_string('output', 'docs/labels.png', 'Of the picture.')

COUNTS = (0, 5, 20, 100)
# What becomes of a row's title to be that of a curve.
CURVES = {'{} labels': 'ASS (GA + CSA)', '{} labels alone': 'labels alone'}


def curves(miou: Mapping[str, Mapping[str, float]]) -> dict[str, charts.Curve]:
  """A point for each row that is there, values of all seeds."""
  found = {}
  for pattern, name in CURVES.items():
    there = {
      place: list(miou[pattern.format(n)].values())
      for place, n in enumerate(COUNTS)
      if miou.get(pattern.format(n))
    }
    found[name] = charts.Curve(list(there), list(there.values()))
  return found


def main(argv) -> None:
  del argv
  path = streets_table.path_of('labels')
  if not path.exists():
    raise UserError(
      f'{path} is missing: python -m benchmarks.streets_table --table=labels'
    )
  miou = json.loads(path.read_text())['miou']
  drawn = curves(miou)
  charts.curves(
    pathlib.Path(_OUTPUT.value),
    drawn,
    xlabel='labelled target images',
    ylabel='mIoU, %',
    levels={
      title: list(miou[title].values())
      for title in ('source-only', streets_table.CONTROL)
    },
    ticks=dict(enumerate(map(str, COUNTS))),
  )
  print(_OUTPUT.value)


if __name__ == '__main__':
  app.run(lambda argv: exit_with_sentence(main, argv))
