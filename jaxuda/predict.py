"""Segment any images and videos with a trained run.

  python -m jaxuda.predict --workdir=RUN --images=DIR|FILE|'GLOB' --output=DIR
    [--size=HxW|full] [--window=HxW] [--scales=0.7,1.0,1.3] [--flip]
    [--batch_size=N] [--ids_only]
    [--checkpoint=latest|best|STEP] [--network=segmenter|ema]

The network sees an image at the size at which the run is evaluated, or else its
target was trained (--size), and the probabilities are upsampled to the image's
own size. DIR gets labels.json and legend.png, the classes' names and colours,
and of a/b.jpg

  a/b_ids.png       8-bit class indices, `index` in labels.json; `id` there is
                    what label files of the class table have
  a/b_color.png     in the classes' colours
  a/b_overlay.png   the colours over the image
  a/b_entropy.png   how uncertain: purple (not at all) to yellow (equal chances)

Of a video a/c.mov: a/c_overlay.mp4 at its frame rate, and a/c_ids/000001.png
and so on for its frames.

Beyond 2048 x 2048 pixels the probabilities would take gigabytes: larger images
are segmented at that area; ids (nearest) and entropy (bilinear) are enlarged.
"""

import os
import pathlib
import sys

from jaxuda.utils import cli
from jaxuda.utils.errors import UserError


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('workdir', None, 'Folder of the run.')
  command.text(
    'images',
    None,
    'A folder of images (what Pillow reads) and videos (mp4, avi, mov, '
    'mkv, webm), with its subfolders; one file; or a glob in quotes.',
  )
  command.text('output', None, 'Folder of the predictions.')
  command.text(
    'size',
    None,
    "HxW at which the network sees an image, or full for the image's own; "
    "default: that of the run's evaluation, or of its target.",
  )
  command.text(
    'window',
    None,
    'HxW of windows that slide over what the network sees, overlapping by '
    "half; full for none; default: the run's.",
  )
  command.integer('batch_size', 1, 'Images of one size at a time.')
  command.boolean('ids_only', False, 'Write the ids and labels.json alone.')
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
  if given.batch_size < 1:
    raise UserError(f'--batch_size={given.batch_size} must be at least 1.')
  workdir, images, output = (
    os.path.expanduser(path)
    for path in (given.workdir, given.images, given.output)
  )

  from jaxuda.datasets import photos, specs, videos
  from jaxuda.utils import files, guard

  size, window = given.size, given.window
  if size not in (None, 'full'):
    size = specs.parse_size(size)
  if window:
    window = specs.parse_size(window) or (0, 0)
  found = photos.find(images, without=output, also=videos.SUFFIXES)
  if any(videos.is_video(photo.path) for photo in found):
    videos.check_installed()
  with guard.clean(pathlib.Path(output, 'labels.json')):
    files.check_writable(pathlib.Path(output))
    _predict(given, workdir, found, output, size, scales, window)
  return 0


def _predict(given, workdir, found, output, size, scales, window):
  """Do what takes long to start; `given` has the flags that need no reading."""
  from jaxuda import experiment
  from jaxuda.evaluation import prediction
  from jaxuda.evaluation.predictor import Predictor
  from jaxuda.utils import compile_cache

  compile_cache.enable()
  run = experiment.load(workdir, given.checkpoint, given.network)
  cli.print_if_best(given.checkpoint)
  predictor = Predictor(
    run,
    size=size,
    scales=scales,
    flip=given.flip,
    window=window,
    batch_size=given.batch_size,
  )
  prediction.predict_images(predictor, found, output, ids_only=given.ids_only)


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
