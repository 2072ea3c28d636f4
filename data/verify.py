"""Checks a dataset file by file: the raw download, or the prepared records.

  python -m data.verify gta5 --raw=DIR
  python -m data.verify gta5 --size=720x1280

Raw files: number of examples against the published one, missing pairs, two
files of one name, files that cannot be read, wrong label encodings, ids outside
the map, image and label of different sizes, labels without a single pixel of
any class. Prepared records (streets: of the default size if none is given):
their number against the published one, checksums, sizes and ids. Prints a
table, writes a JSON file, exits with 0 if all is well (there may be warnings),
1 if not, 2 if it could not look.
"""

import argparse
import json
import pathlib
import sys

from jaxuda.datasets import specs, verify_prepared
from jaxuda.datasets.verify import show, verify_raw
from jaxuda.utils.errors import UserError, exit_with_sentence


def main(argv: list[str]) -> int:
  """The command line; returns the exit code."""
  args = _parser().parse_args(argv)
  named = specs.specs_of(args.name)
  module = specs.module(specs.split_spec(named[0])[0])
  given = bool(args.raw) + bool(args.size)
  # What is rendered has no raw files, so that one of the two is left.
  if given > 1 or (not given and module.NEEDS_RAW):
    raise UserError(
      'give --raw=DIR to check raw files or --size=HxW to check prepared '
      'records, one of the two.'
    )
  results = []
  for spec in named:
    if args.raw:
      found = [verify_raw(spec, args.raw, args.workers)]
    else:
      size = specs.parse_size(args.size) if args.size else module.DEFAULT_SIZE
      found = verify_prepared.verify(spec, size, args.data_dir, args.workers)
    for result in found:
      show(result)
    results += found
  ok = all(result['ok'] for result in results)
  path = args.json or f'verify-{args.name.replace("/", "-")}.json'
  try:
    pathlib.Path(path).expanduser().write_text(
      json.dumps({'ok': ok, 'reports': results}, indent=2) + '\n'
    )
  except OSError as e:
    raise UserError(f'{path}: cannot write: {e.strerror}.') from e
  print(f'written to {path}')
  return 0 if ok else 1


def _parser():
  parser = argparse.ArgumentParser(
    prog='python -m data.verify',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('name', help=f'one of: {", ".join(specs.DATASETS)}')
  parser.add_argument('--raw', metavar='DIR', help='folder of the download')
  parser.add_argument('--size', metavar='HxW', help='of the prepared records')
  parser.add_argument(
    '--data_dir',
    metavar='DIR',
    help='root of the prepared datasets (default: $TFDS_DATA_DIR or '
    '~/tensorflow_datasets)',
  )
  parser.add_argument(
    '--json', metavar='PATH', help='(default: verify-NAME.json)'
  )
  parser.add_argument(
    '--workers', type=int, help='number of processes (default: all cores)'
  )
  return parser


if __name__ == '__main__':
  try:
    exit_with_sentence(main, sys.argv[1:])
  except KeyboardInterrupt:
    sys.exit(130)
