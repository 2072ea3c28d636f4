"""Repeat an analysis of the papers.

  python -m jaxuda.analyze NAME [flags]
  python -m jaxuda.analyze NAME --help

Each writes NAME.csv and NAME.png into --output, runs/analyze/NAME by default,
and prints in a sentence what is found. NAME is one of:
"""

import pathlib
import sys

from jaxuda import analyze
from jaxuda.utils import cli, files
from jaxuda.utils.errors import UserError


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  name = argv[1] if len(argv) > 1 and not argv[1].startswith('-') else None
  if name is None:
    if cli.wants_help(argv):
      print(_overview())
      return 0
    raise UserError(
      'usage: python -m jaxuda.analyze NAME, one of '
      f'{", ".join(analyze.analyses())}; see --help.'
    )
  analysis = analyze.load(name)
  command = cli.Flags()
  command.text(
    'output', None, f'Folder of the results; default: runs/analyze/{name}.'
  )
  analysis.define_flags(command)
  if command.parse(argv[1:], analysis.__doc__) is None:
    return 0
  given = command.values
  output = pathlib.Path(given.output or f'runs/analyze/{name}').expanduser()
  files.check_writable(output)

  from jaxuda.utils import compile_cache

  compile_cache.enable()
  sentence = analysis.run(given, output)
  print(f'{sentence}\n{output / name}.csv and .png')
  return 0


def _overview():
  lines = [__doc__]
  for name in analyze.analyses():
    first = analyze.load(name).__doc__.partition('\n')[0]
    lines.append(f'  {name}\n    {first}')
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
