"""Segment any images with a trained run.

  python -m jaxuda.predict --workdir=RUN --images=DIR|FILE --output=DIR
    [--checkpoint=latest|best|STEP] [--network=segmenter|ema]

An image is resized to the size at which the run is evaluated (config.eval.size;
None keeps its own), and the probabilities are upsampled to its own size. For
DIR/a/b.jpg these are written:

  a/b_ids.png       8-bit class indices of the run's class space
  a/b_color.png     in the classes' colours
  a/b_overlay.png   the colours over the image
  a/b_entropy.png   how uncertain: purple (not at all) to yellow (equal chances)

Beyond 2048 x 2048 pixels the probabilities would take gigabytes: larger images
are segmented at that area; ids (nearest) and entropy (bilinear) are enlarged.
"""

import os
import sys

from jaxuda.utils import cli


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('workdir', None, 'Folder of the run.')
  command.text(
    'images',
    None,
    'A folder of images (png, jpg, jpeg, webp, bmp; with its subfolders), or '
    'one image file.',
  )
  command.text('output', None, 'Folder of the predictions.')
  cli.define_checkpoint(command)
  cli.define_averaging(command)
  return command


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  command.require('workdir', 'images', 'output')
  given = command.values
  scales = cli.parse_scales(given.scales)
  workdir, images, output = (
    os.path.expanduser(path)
    for path in (given.workdir, given.images, given.output)
  )

  from jaxuda.datasets import photos

  found = photos.find(images, without=output)

  from jaxuda import experiment
  from jaxuda.evaluation import prediction
  from jaxuda.utils import compile_cache

  compile_cache.enable()
  run = experiment.load(workdir, given.checkpoint, given.network)
  cli.print_if_best(given.checkpoint)
  prediction.predict_images(run, found, output, scales=scales, flip=given.flip)
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
