"""Segmenting images of any kind with a trained run; see jaxuda/predict.py."""

import functools
import math
import os
import pathlib
import threading
from collections.abc import Callable, Sequence
from concurrent import futures

import jax
import numpy as np
from PIL import Image

from jaxuda import labels
from jaxuda.datasets import photos
from jaxuda.evaluation import inference
from jaxuda.experiment import Run
from jaxuda.figures import segmentation
from jaxuda.utils import console, files
from jaxuda.utils.errors import UserError

MAX_PIXELS = 2048 * 2048
MIN_SIDE = 64  # of what the network sees when an image keeps its own size
_THREADS = 4  # that read and write while the device computes


def predict_images(
  run: Run,
  found: Sequence[photos.Photo],
  output: str | os.PathLike,
  *,
  scales: Sequence[float] | None = None,
  flip: bool | None = None,
) -> np.ndarray:
  """Segment images on the first device, and write four PNGs for each.

  Progress is printed, and at the end the classes' shares.

  Args:
    run: the trained network.
    found: of photos.find.
    output: a folder, created if need be.
    scales, flip: see inference.probabilities; None for the run's own.

  Returns:
    f64[C], each class's share of an image's pixels, in the mean of all images.

  Raises:
    UserError: `output` is not writable; or, once all others are written, the
      list of the files that could not be read.
  """
  output = pathlib.Path(output)
  files.check_writable(output)
  settings = inference.protocol(run.config.eval)
  if scales is not None:
    settings['scales'] = scales
  if flip is not None:
    settings['flip'] = flip
  compute = jax.jit(
    functools.partial(inference.segment, net=run.net, **settings),
    static_argnames='size',
  )
  variables = jax.device_put((run.params, run.batch_stats))
  one_at_a_time = threading.Lock()  # each size is compiled once

  def predict(photo):
    image = photos.read(photo.path)
    size = within(image.shape[:2], MAX_PIXELS)
    fitted = run.config.eval.size or [max(side, MIN_SIDE) for side in size]
    fitted = _resize(image, fitted, Image.Resampling.BICUBIC)
    with one_at_a_time:
      ids, entropy = jax.device_get(compute(*variables, fitted, size=size))
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
  """Call `predict` in threads: its results, and what could not be read."""
  results, unreadable = [], []
  with (
    console.progress('images', len(found)) as advance,
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
  """Return the size, or the largest in proportion with at most `pixels`."""
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


def _write(prefix, image, ids, entropy, space: labels.LabelSpace) -> None:
  pictures = {
    'ids': ids,
    'color': labels.colorize(ids, space),
    'overlay': segmentation.overlay(image, ids, space),
    'entropy': segmentation.entropy_map(entropy),
  }
  for kind, picture in pictures.items():
    segmentation.write_png(f'{prefix}{kind}.png', picture)


def _describe(shares, space: labels.LabelSpace) -> str:
  """'road 38.1%, building 20.0%': what takes 0.1% or more, largest first."""
  order = np.argsort(-shares, kind='stable')
  named = [(space.classes[i], shares[i]) for i in order if shares[i] >= 0.001]
  return ', '.join(f'{name} {share:.1%}' for name, share in named)
