"""Write the report of a run, or of several, as one HTML file.

  python -m jaxuda.report RUN [RUN...] [--output=report.html]

What was trained, each class, pictures, curves, what can be told without labels,
confusions, and where time went: in one page that needs no network and no other
file. A run writes its own when it ends, as report.html in its folder.
"""

import pathlib
import sys

from jaxuda.utils import cli
from jaxuda.utils.errors import UserError


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = cli.Flags()
  command.text('output', 'report.html', 'The file.')
  runs = command.parse(argv, __doc__, ['RUN'], more=True)
  if runs is None:
    return 0
  output = pathlib.Path(command.values.output).expanduser()
  if output.is_dir():
    raise UserError(f'--output={output} is a folder: name a file in it.')

  from jaxuda.reports import page

  page.write([pathlib.Path(run).expanduser() for run in runs], output)
  print(f'report: {output}')
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
