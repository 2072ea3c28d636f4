"""Run a command of jaxuda.

  jaxuda COMMAND [arguments]
  jaxuda COMMAND --help

`python -m jaxuda` does the same from a clone. COMMAND is one of:
"""

import ast
import importlib.util
import pathlib
import sys

import jaxuda
from jaxuda.utils import cli, names
from jaxuda.utils.errors import UserError

# Modules by name: only the one that is asked for is imported.
COMMANDS = {
  'train': 'jaxuda.main',
  'evaluate': 'jaxuda.evaluate',
  'predict': 'jaxuda.predict',
  'export': 'jaxuda.export',
  'pseudo_label': 'jaxuda.pseudo_label',
  'weights': 'jaxuda.weights',
  'analyze': 'jaxuda.analyze.__main__',
  'report': 'jaxuda.report',
  'compare': 'jaxuda.compare',
  'prepare': 'data.prepare',
  'verify': 'data.verify',
}


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  word = argv[1] if len(argv) > 1 else '--help'
  if word in COMMANDS:
    names.beside('data')  # of which some commands are
    return importlib.import_module(COMMANDS[word]).main(argv[1:])
  if word == '--version':
    print(f'jaxuda {jaxuda.__version__}')
  elif cli.wants_help([word]):
    names.beside('data')
    print('\n'.join([__doc__, *map(_line, COMMANDS)]))
  else:
    hint = names.nearest(word, COMMANDS)
    raise UserError(f'there is no command {word!r}{hint}')
  return 0


def _line(word):
  """Return a command's name and the first line of its docstring."""
  path = importlib.util.find_spec(COMMANDS[word]).origin
  doc = ast.get_docstring(ast.parse(pathlib.Path(path).read_bytes()))
  return f'  {word:14}{doc.splitlines()[0]}'


def run() -> None:
  """Run this process's command line, and end the process."""
  cli.run_cli(main, sys.argv)


if __name__ == '__main__':
  run()
