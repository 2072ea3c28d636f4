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
import math
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent import futures

import numpy as np
from absl import flags
from PIL import Image

from jaxuda import command, labels, layout, photos, visualize
from jaxuda.errors import UserError, exit_with_sentence

MAX_PIXELS = 2048 * 2048
MIN_SIDE = 64  # of what the network sees when an image keeps its own size
_THREADS = 4  # that read and write while the device computes


def segment(params, batch_stats, image, *, net, size, **protocol):
  """Segments one image; pure, to be jitted.

  Args:
    params, batch_stats: the segmenter's.
    image: u8[H, W, 3].
    net: the segmenter.
    size: (h, w) of the answer.
    protocol: scales, flip and more of evaluate.probabilities.

  Returns:
    u8[h, w] class indices and f32[h, w] entropy in 0..1.
  """
  import jax
  import jax.numpy as jnp

  from jaxuda import evaluate

  p = evaluate.probabilities(
    params,
    batch_stats,
    image[None],
    net=net,
    size=size,
    **protocol,
  )[0]
  entropy = jax.scipy.special.entr(p).sum(-1) / math.log(p.shape[-1])
  return jnp.argmax(p, -1).astype(jnp.uint8), jnp.clip(entropy, 0, 1)


def predict_images(
  run,
  found: Sequence[photos.Photo],
  output: str | os.PathLike,
  *,
  scales: Sequence[float] | None = None,
  flip: bool | None = None,
) -> np.ndarray:
  """Segments images on the first device; writes four PNGs of each.

  Prints progress, and at the end the classes' shares.

  Args:
    run: a runs.Run.
    found: of photos.find.
    output: a folder, created if need be.
    scales, flip: see evaluate.probabilities; None for the run's own.

  Returns:
    f64[C]: the classes' shares of an image's pixels, in the mean of the images.

  Raises:
    UserError: `output` is not writable; or, once all others are written, the
      list of the files that could not be read.
  """
  import jax

  output = pathlib.Path(output)
  layout.check_writable(output)
  settings = run.config.eval
  compute = jax.jit(
    functools.partial(
      segment,
      net=run.net,
      scales=tuple(settings.scales if scales is None else scales),
      flip=settings.flip if flip is None else flip,
      average=settings.average,
      upsample=settings.upsample,
    ),
    static_argnames='size',
  )
  variables = jax.device_put((run.params, run.batch_stats))
  one_at_a_time = threading.Lock()  # each size is compiled once

  def predict(photo):
    image = photos.read(photo.path)
    size = within(image.shape[:2], MAX_PIXELS)
    seen = settings.size or tuple(max(side, MIN_SIDE) for side in size)
    seen = _resize(image, seen, Image.Resampling.BICUBIC)
    with one_at_a_time:
      ids, entropy = jax.device_get(compute(*variables, seen, size=size))
    ids = _resize(ids, image.shape[:2], Image.Resampling.NEAREST)
    entropy = _resize(entropy, image.shape[:2], Image.Resampling.BILINEAR)
    _write(f'{output / photo.name}_', image, ids, entropy, run.space)
    return np.bincount(ids.ravel(), minlength=len(run.space.classes)) / ids.size

  shares, unreadable = _for_all(predict, found)
  if shares:
    mean = np.mean(shares, axis=0)
    print(f'{len(shares)} images in {output}: {_describe(mean, run.space)}')
  if unreadable:
    raise UserError(
      f'{len(unreadable)} of {len(found)} files cannot be read as images:\n  '
      + '\n  '.join(sorted(unreadable))
    )
  return mean


def _for_all(predict: Callable, found: Sequence[photos.Photo]) -> tuple:
  """Calls `predict` in threads: its results, and what could not be read."""
  from data import progress

  results, unreadable = [], []
  with (
    progress.bar('images', len(found)) as advance,
    futures.ThreadPoolExecutor(_THREADS) as pool,
  ):
    tasks = {pool.submit(predict, photo): photo for photo in found}
    try:
      for task in futures.as_completed(tasks):
        try:
          results.append(task.result())
        except photos.UnreadableError as e:
          unreadable.append(f'{tasks[task].path}: {e}')
        advance()
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise
  return results, unreadable


def within(size: tuple[int, int], pixels: int) -> tuple[int, int]:
  """The size, or the largest of its aspect that has at most `pixels`."""
  factor = math.sqrt(pixels / math.prod(size))
  if factor >= 1:
    return size
  shrunk = [max(1, int(side * factor)) for side in size]
  return tuple(min(side, pixels // min(shrunk)) for side in shrunk)


def _resize(array, size, method):
  """f32[H, W], u8[H, W] or u8[H, W, 3] at (h, w)."""
  if array.shape[:2] == tuple(size):
    return array
  return np.asarray(Image.fromarray(array).resize(size[::-1], method))


def _write(prefix, image, ids, entropy, space: labels.Space) -> None:
  pictures = {
    'ids': ids,
    'color': labels.colorize(ids, space.name),
    'overlay': visualize.overlay(image, ids, space),
    'entropy': visualize.entropy_map(entropy),
  }
  for kind, picture in pictures.items():
    visualize.write_png(f'{prefix}{kind}.png', picture)


def _describe(shares, space: labels.Space) -> str:
  """'road 38.1%, building 20.0%': what takes 0.1% or more, largest first."""
  order = np.argsort(-shares, kind='stable')
  named = [(space.classes[i], shares[i]) for i in order if shares[i] >= 0.001]
  return ', '.join(f'{name} {share:.1%}' for name, share in named)


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
  if not command.parse(given, argv, __doc__):
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

  from jaxuda import compile_cache, runs

  compile_cache.enable()
  run = runs.load(workdir, given.checkpoint)
  if given.checkpoint == 'best':
    print('oracle-selected: this checkpoint was chosen by target labels.')
  predict_images(run, found, output, scales=scales, flip=given.flip)
  return 0


if __name__ == '__main__':
  exit_with_sentence(main, sys.argv)
