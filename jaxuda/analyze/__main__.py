"""Repeats an analysis of the papers.

  python -m jaxuda.analyze NAME [flags]
  python -m jaxuda.analyze NAME --help

Each writes NAME.csv and NAME.png into --output, runs/analyze/NAME by default,
and says in a sentence what was found. NAME is one of:
"""

import pathlib
import sys

from jaxuda import analyze
from jaxuda.utils import cli, files
from jaxuda.utils.errors import UserError, exit_with_sentence


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  name = argv[1] if len(argv) > 1 and not argv[1].startswith('-') else None
  if name is None:
    if not {'--help', '-h'}.isdisjoint(argv):
      print(_overview())
      return 0
    raise UserError(
      'usage: python -m jaxuda.analyze NAME, one of '
      f'{", ".join(analyze.names())}; see --help.'
    )
  experiment = analyze.load(name)
  given = analyze.flag_values(name)
  if not cli.parse(given, argv[1:], experiment.__doc__):
    return 0
  output = pathlib.Path(given.output or f'runs/analyze/{name}').expanduser()
  files.check_writable(output)

  from jaxuda.utils import compile_cache

  compile_cache.enable()
  sentence = experiment.run(given, output)
  print(f'{sentence}\n{output / name}.csv and .png')
  return 0


def _overview():
  lines = [__doc__]
  for name in analyze.names():
    first = analyze.load(name).__doc__.partition('\n')[0]
    lines.append(f'  {name}\n    {first}')
  return '\n'.join(lines)


if __name__ == '__main__':
  exit_with_sentence(main, sys.argv)
