"""Segments any images with a trained run.

  python -m jaxuda.predict --workdir=RUN --images=DIR|FILE --output=DIR

An image is resized to the size at which the run is evaluated (config.eval.size;
None keeps its own), and the probabilities are upsampled to its own size. For
DIR/a/b.jpg these are written:

  a/b_ids.png       8-bit class indices of the run's class space
  a/b_color.png     in the classes' colours
  a/b_overlay.png   the colours over the image
  a/b_entropy.png   how uncertain: purple (not) to yellow (equal chances)

Beyond 2048 x 2048 pixels the probabilities would take gigabytes: larger images
are segmented at that area, then ids (nearest) and entropy (bilinear) enlarged.
"""

import functools
import os
import sys
from collections.abc import Sequence

from absl import flags

from jaxuda.evaluation import photos
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError, exit_with_sentence


def define_flags() -> flags.FlagValues:
  """The flags of this command line."""
  given = flags.FlagValues()
  text = functools.partial(flags.DEFINE_string, flag_values=given)
  text('workdir', None, 'Folder of the run.')
  text(
    'images',
    None,
    'A folder of images (png, jpg, jpeg, webp, bmp; with its subfolders), or '
    'one image file.',
  )
  text('output', None, 'Folder for the answers.')
  text('checkpoint', 'latest', 'latest, best or a step.')
  flags.DEFINE_list(
    'scales',
    None,
    "Input scales that are averaged: 0.7,1.0; default: the run's.",
    flag_values=given,
  )
  flags.DEFINE_bool(
    'flip',
    None,
    "Average with the mirrored input, too; default: the run's.",
    flag_values=given,
  )
  return given


def parse_scales(texts: Sequence[str] | None) -> tuple[float, ...] | None:
  """The numbers of a --scales flag, None where it is not given."""
  try:
    scales = tuple(float(text) for text in texts) if texts else None
  except ValueError:
    scales = (0.0,)
  if scales and not all(0.1 <= scale <= 10 for scale in scales):
    raise UserError(
      f'--scales takes numbers from 0.1 to 10, not {",".join(texts)!r}.'
    )
  return scales


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  given = define_flags()
  if not cli.parse(given, argv, __doc__):
    return 0
  for name in ('workdir', 'images', 'output'):
    if not given[name].value:
      raise UserError(f'--{name} is needed; see --help.')
  scales = parse_scales(given.scales)
  workdir, images, output = (
    os.path.expanduser(path)
    for path in (given.workdir, given.images, given.output)
  )
  found = photos.find(images, without=output)

  from jaxuda import experiment
  from jaxuda.evaluation import prediction
  from jaxuda.utils import compile_cache

  compile_cache.enable()
  run = experiment.load(workdir, given.checkpoint)
  if given.checkpoint == 'best':
    print('oracle-selected: this checkpoint was chosen by target labels.')
  prediction.predict_images(run, found, output, scales=scales, flip=given.flip)
  return 0


if __name__ == '__main__':
  exit_with_sentence(main, sys.argv)
