"""Prepare a dataset once: raw files in, records of one image size out.

  python -m data.prepare gta5 --raw=DIR --size=720x1280

NAME is a dataset (all its variants) or NAME/VARIANT. Images are resized with
Pillow BICUBIC, labels with NEAREST; val, test and tune also keep the label at
its own size. The first problem stops it with one sentence and nothing is left
behind.
"""

import sys

from jaxuda.datasets import images, specs
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('raw', None, 'Folder of the download.')
  command.text(
    'size',
    None,
    "HxW, height x width of the images, or 'full'; default: full, for streets "
    '96x192.',
  )
  command.text(
    'data_dir',
    None,
    'Root of the prepared datasets; default: $TFDS_DATA_DIR or '
    '~/tensorflow_datasets.',
  )
  command.integer(
    'jpeg',
    None,
    'Store images as JPEG of this quality, 1 to 100, such as '
    f'{images.DEFAULT_JPEG_QUALITY}: a third of the size, not lossless.',
  )
  command.boolean(
    'allow_missing',
    False,
    'Prepare what is there although files, or whole splits, are missing.',
  )
  command.boolean(
    'allow_ignored', False, 'Keep images whose label has no pixel of any class.'
  )
  command.integer(
    'workers', None, 'Number of processes; default: all cores.', lower_bound=1
  )
  return command


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  # --jpeg alone stands for the usual quality.
  argv = [
    f'--jpeg={images.DEFAULT_JPEG_QUALITY}' if a == '--jpeg' else a
    for a in argv
  ]
  doc = f'{__doc__}\nThe datasets: {", ".join(specs.datasets())}.\n'
  found = command.parse(argv, doc, ['NAME'])
  if found is None:
    return 0
  given = command.values
  if given.jpeg is not None and not 1 <= given.jpeg <= 100:
    raise UserError(f'--jpeg={given.jpeg}: a JPEG quality is from 1 to 100.')

  from jaxuda.datasets import prepare

  for spec in specs.specs_of(found[0]):
    name, _ = specs.split_spec(spec)
    size = specs.module(name).DEFAULT_SIZE
    if given.size:
      size = specs.parse_size(given.size)
    prepare.prepare(
      spec,
      size=size,
      raw=given.raw,
      data_dir=given.data_dir,
      jpeg=given.jpeg,
      allow_missing=given.allow_missing,
      allow_ignored=given.allow_ignored,
      workers=given.workers,
    )
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
