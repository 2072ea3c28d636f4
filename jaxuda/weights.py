"""Fetch, read and write files of PyTorch weights.

  python -m jaxuda.weights fetch [NAME] [--folder=DIR]
  python -m jaxuda.weights inspect FILE
  python -m jaxuda.weights import FILE --config=CONFIG --workdir=RUN
  python -m jaxuda.weights export --workdir=RUN --output=FILE
    [--checkpoint=latest|best|STEP] [--network=segmenter|ema] [--layout=NAME]

Files are .safetensors or .pth, which run no code; the keys of a file
tell what kind of model it holds. `--config.init=FILE` starts a training from
one, and `python -m jaxuda.evaluate --weights=FILE --config=CONFIG` scores one.

`fetch` downloads what papers have published and lists it where no NAME is
given. It lies in $JAXUDA_WEIGHTS, by default ~/.cache/jaxuda/weights, where its
NAME does for FILE everywhere; what is fetched into another --folder is found by
its path, or where $JAXUDA_WEIGHTS names that folder.
"""

import pathlib
import sys

from jaxuda import config as config_lib
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  commands = {
    'fetch': _fetch,
    'inspect': _inspect,
    'import': _import,
    'export': _export,
  }
  name = argv[1] if len(argv) > 1 else None
  if name in commands:
    return commands[name]([argv[0], *argv[2:]])
  if cli.wants_help(argv):
    print(__doc__)
    return 0
  raise UserError(
    f'usage: python -m jaxuda.weights {"|".join(commands)}; see --help.'
  )


def _fetch(argv):
  command = cli.Flags()
  command.text('folder', None, 'Where files are put and looked for.')
  if cli.wants_help(argv):
    command.parse(argv, __doc__)
    return 0
  named = command.read(argv)

  from jaxuda.torch_weights import fetch

  given = command.values.folder
  folder = pathlib.Path(given).expanduser() if given else None
  if named:
    [name] = cli.placed(named, ['NAME'])
    fetch.fetch(name, folder)
  else:
    fetch.print_list(folder)
  return 0


def _inspect(argv):
  command = cli.Flags()
  found = command.parse(argv, __doc__, ['FILE'])
  if found is None:
    return 0

  from jaxuda.torch_weights import export, published

  export.inspect(published.find(found[0]))
  return 0


def _import(argv):
  command = cli.Flags()
  command.text('workdir', None, 'Folder of the run that is made.')
  argv = config_lib.define(command.values, argv)
  if cli.wants_help(argv):
    command.parse(argv, __doc__)
    return 0
  extra = config_lib.parse_flags(command.values, argv)
  [path] = cli.placed(extra, ['FILE'])
  command.require('config', 'workdir')

  from jaxuda.torch_weights import published
  from jaxuda.training import start

  config = config_lib.value(command.values)
  workdir = pathlib.Path(command.values.workdir).expanduser()
  start.import_file(published.find(path), config, workdir)
  return 0


def _export(argv):
  command = cli.Flags()
  command.text('workdir', None, 'Folder of the run.')
  command.text('output', None, "The segmenter's file.")
  command.text(
    'layout', None, "How to name the tensors; default: the method's."
  )
  cli.define_checkpoint(command)
  if command.parse(argv, __doc__) is None:
    return 0
  command.require('workdir', 'output')

  from jaxuda.torch_weights import export

  given = command.values
  for path in export.export(
    pathlib.Path(given.workdir).expanduser(),
    pathlib.Path(given.output).expanduser(),
    given.checkpoint,
    given.layout,
    given.network,
  ):
    print(path)
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
