"""Compare runs: means over seeds, each class, curves.

  python -m jaxuda.compare 'runs/advent*' [RUN...] [--output=comparison]

Runs of one config that differ in their seeds are one line, mean and standard
deviation; configs are named by the keys in which they differ. The first line is
what others are compared with, seed by seed. Unfinished runs are named and left
out. --output receives runs.csv, summary.csv, curves.png and classes.png.
"""

import pathlib
import sys

from jaxuda.utils import cli
from jaxuda.utils.errors import UserError


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = cli.Flags()
  command.text('output', 'comparison', 'Folder of tables and figures.')
  patterns = command.parse(argv, __doc__, ['RUN'], more=True)
  if patterns is None:
    return 0

  from jaxuda.reports import compare, content

  output = pathlib.Path(command.values.output).expanduser()
  runs = content.read_all(compare.find(patterns))
  if not compare.write(runs, output):
    raise UserError('there is nothing to compare: none of them has a score.')
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
