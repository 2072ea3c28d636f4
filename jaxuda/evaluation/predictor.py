"""A trained network that segments images of any size."""

import functools
import math
import threading
from collections.abc import Sequence

import jax
import numpy as np
from PIL import Image

from jaxuda import experiment
from jaxuda.evaluation import inference
from jaxuda.experiment import Run
from jaxuda.models import segmenter
from jaxuda.utils import memory, xla

MAP_PIXELS = 2048 * 2048  # of all label maps that are computed at once
MIN_SIDE = 64  # of what the network sees when an image keeps its own size
FULL = 'full'  # in place of a size: the image's own


class Predictor:
  """Class indices and entropy of images, on the first device.

  Attributes:
    run: the trained network.
    batch_size: how many images of one size are segmented together, as far as
      they have 2048 x 2048 pixels at most.
  """

  def __init__(
    self,
    run: Run,
    *,
    size: tuple[int, int] | str | None = None,
    scales: Sequence[float] | None = None,
    flip: bool | None = None,
    window: Sequence[int] | None = None,
    batch_size: int = 1,
  ):
    """Move the network to the device.

    Args:
      run: the trained network.
      size: (height, width) that the network sees; FULL for the image's own;
        None for that of the run's evaluation or else of its target.
      scales, flip, window: see inference.probabilities; None for the run's own.
      batch_size: see the attributes.

    Raises:
      UserError: there is too little memory for images of that size.
    """
    self.run, self.batch_size = run, batch_size
    self._size = size or experiment.image_size(run.config) or FULL
    if self._size != FULL:
      memory.check_fits('size', self._size, 1, len(run.space.classes))
    settings = inference.protocol(
      run.config.eval, scales=scales, flip=flip, window=window
    )
    self._compute = xla.jit(
      functools.partial(inference.segment_all, net=run.net, **settings),
      static_argnames='size',
    )
    self._variables = jax.device_put((run.params, run.batch_stats))
    self._one_at_a_time = threading.Lock()  # each size is compiled once

  def together(self, size: tuple[int, int]) -> int:
    """Return how many images of a size are segmented at once."""
    largest = max(math.prod(self._seen(size)), math.prod(_within(size)))
    return max(1, min(self.batch_size, MAP_PIXELS // largest))

  def __call__(
    self, images: Sequence[np.ndarray]
  ) -> list[tuple[np.ndarray, np.ndarray]]:
    """Segment images of one size, u8[H, W, 3].

    Returns:
      u8[H, W] class indices and f32[H, W] entropy in 0..1, of each.
    """
    own = images[0].shape[:2]
    seen, bicubic = self._seen(own), Image.Resampling.BICUBIC
    fitted = [resize(image, seen, bicubic) for image in images]
    # A batch that is not full would be compiled again.
    fitted += fitted[:1] * (self.together(own) - len(images))
    with self._one_at_a_time:
      found = jax.device_get(
        self._compute(*self._variables, np.stack(fitted), size=_within(own))
      )
    return [
      (
        resize(ids, own, Image.Resampling.NEAREST),
        resize(entropy, own, Image.Resampling.BILINEAR),
      )
      for ids, entropy, _ in zip(*found, images, strict=False)
    ]

  def _seen(self, size):
    """Return the size at which the network sees an image of this one."""
    if self._size != FULL:
      return self._size
    divisor = segmenter.sides_divide_by(self.run.config)
    return tuple(
      divisor * round(max(side, MIN_SIDE) / divisor) for side in _within(size)
    )


def _within(size):
  return within(size, MAP_PIXELS)


def within(size: tuple[int, int], pixels: int) -> tuple[int, int]:
  """Return the size, or the largest in proportion with at most `pixels`."""
  factor = math.sqrt(pixels / math.prod(size))
  if factor >= 1:
    return tuple(size)
  shrunk = [max(1, int(side * factor)) for side in size]
  return tuple(min(side, pixels // min(shrunk)) for side in shrunk)


def resize(
  array: np.ndarray, size: Sequence[int], method: Image.Resampling
) -> np.ndarray:
  """Return f32[H, W], u8[H, W] or u8[H, W, 3] at (h, w)."""
  if array.shape[:2] == tuple(size):
    return array
  return np.asarray(Image.fromarray(array).resize(size[::-1], method))
