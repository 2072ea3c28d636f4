"""PyTorch weights in and out.

python -m jaxuda.weights inspect FILE
python -m jaxuda.weights import FILE --config=PAGE --workdir=RUN
python -m jaxuda.weights export --workdir=RUN --output=FILE
  [--checkpoint=latest|best|STEP] [--layout=NAME]

Files are .safetensors, or .pth where torch is installed; what kind of model a
file holds is told by its keys. `--config.init=FILE` starts a training from
one, and `python -m jaxuda.evaluate --weights=FILE --config=PAGE` scores one.
"""

import argparse
import pathlib
import sys

from jaxuda.config import loading as config_lib
from jaxuda.torch_weights import export
from jaxuda.training import start
from jaxuda.utils.errors import UserError, exit_with_sentence


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog='python -m jaxuda.weights',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  commands = parser.add_subparsers(dest='command', required=True)
  inspecting = commands.add_parser('inspect', help='what a file holds')
  importing = commands.add_parser('import', help='a file to a run')
  exporting = commands.add_parser('export', help='a run to files')
  for command in (inspecting, importing):
    command.add_argument('file', type=pathlib.Path)
  importing.add_argument('--config', required=True, help='a config page')
  for command in (importing, exporting):
    command.add_argument('--workdir', required=True, type=pathlib.Path)
  exporting.add_argument('--output', required=True, type=pathlib.Path)
  exporting.add_argument('--checkpoint', default='latest')
  exporting.add_argument('--layout', help='how to name the tensors')
  return parser


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  argv, overrides = config_lib.split_overrides(argv)
  args = _parser().parse_args(argv)
  if overrides and args.command != 'import':
    raise UserError('--config.KEY=VALUE is for import, which makes a run.')
  if args.command == 'inspect':
    export.inspect(args.file)
  elif args.command == 'import':
    config = config_lib.load(args.config, overrides)
    start.import_file(args.file, config, args.workdir)
  else:
    for path in export.export(
      args.workdir, args.output, args.checkpoint, args.layout
    ):
      print(path)
  return 0


if __name__ == '__main__':
  exit_with_sentence(main, sys.argv[1:])
