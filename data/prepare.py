"""Prepares a dataset once: raw files in, records of one image size out.

  python -m data.prepare gta5 --raw=DIR --size=720x1280

NAME is a dataset (all its variants) or NAME/VARIANT. Images are resized with
Pillow BICUBIC, labels with NEAREST; val and test also keep the label at its own
size. The first problem stops it with one sentence and nothing is left behind.
"""

import argparse
import sys

from jaxuda.datasets import images, specs
from jaxuda.datasets.prepare import prepare
from jaxuda.utils.errors import UserError, exit_with_sentence


def _parser():
  parser = argparse.ArgumentParser(
    prog='python -m data.prepare',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('name', help=f'one of: {", ".join(specs.DATASETS)}')
  parser.add_argument('--raw', metavar='DIR', help='folder of the download')
  parser.add_argument(
    '--size',
    default=None,
    metavar='HxW',
    help="height x width of the images, or 'full' (default: full; for streets "
    '96x192)',
  )
  parser.add_argument(
    '--data_dir',
    metavar='DIR',
    help='root of the prepared datasets (default: $TFDS_DATA_DIR or '
    '~/tensorflow_datasets)',
  )
  parser.add_argument(
    '--jpeg',
    nargs='?',
    type=int,
    const=images.DEFAULT_JPEG_QUALITY,
    metavar='QUALITY',
    help='store images as JPEG (quality 1 to 100, default '
    f'{images.DEFAULT_JPEG_QUALITY}): a third of the size, not lossless',
  )
  parser.add_argument(
    '--allow_missing',
    action='store_true',
    help='prepare what is there although files are missing',
  )
  parser.add_argument(
    '--allow_ignored',
    action='store_true',
    help='keep images whose label has no pixel of any class',
  )
  parser.add_argument(
    '--workers', type=int, help='number of processes (default: all cores)'
  )
  return parser


def main(argv: list[str]) -> int:
  """The command line."""
  args = _parser().parse_args(argv)
  if args.jpeg is not None and not 1 <= args.jpeg <= 100:
    raise UserError(f'--jpeg={args.jpeg}: a JPEG quality is from 1 to 100.')
  if args.workers is not None and args.workers < 1:
    raise UserError(f'--workers={args.workers}: there must be at least one.')
  for spec in specs.specs_of(args.name):
    name, _ = specs.split_spec(spec)
    size = specs.module(name).DEFAULT_SIZE
    if args.size:
      size = specs.parse_size(args.size)
    prepare(
      spec,
      size=size,
      raw=args.raw,
      data_dir=args.data_dir,
      jpeg=args.jpeg,
      allow_missing=args.allow_missing,
      allow_ignored=args.allow_ignored,
      workers=args.workers,
    )
  return 0


if __name__ == '__main__':
  try:
    exit_with_sentence(main, sys.argv[1:])
  except KeyboardInterrupt:
    print('interrupted; nothing was left behind', file=sys.stderr)
    sys.exit(130)
