"""Whether a written file predicts what the run does, and how fast it is."""

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxuda.evaluation import inference
from jaxuda.exporting.program import Program

TIE = 1e-3  # two classes are equally likely that differ by less
_ROUNDS, _SECONDS = 10, 3.0


class Agreement(NamedTuple):
  """How what a file predicts of some images compares with the run.

  Attributes:
    pixels: of all images.
    different: how many of them are of another class, or where the run predicts
      nan.
    ties: how many of those are ties, where either class is right.
    largest: difference of a probability, perhaps nan; None where the file has
      none.
  """

  pixels: int
  different: int
  ties: int
  largest: float | None

  @property
  def equal(self) -> bool:
    """Whether differences are ties, and probabilities those of the run."""
    near = self.largest is None or self.largest < TIE  # not where it is nan
    return near and self.different == self.ties


def reference(program: Program) -> Callable:
  """Return what predicts as `jaxuda predict` does of an image of this size.

  It is compiled for each size, and maps u8[1, H, W, 3] to f32[1, H, W, C].
  """
  compute = jax.jit(
    functools.partial(
      inference.probabilities, net=program.run.net, **program.settings
    ),
    static_argnames='size',
  )
  variables = jax.device_put(program.variables)
  return lambda image: compute(*variables, image, size=image.shape[1:3])


def compare(
  expected: Callable, found: Callable, images: Sequence[np.ndarray]
) -> Agreement:
  """Compare a file with the run.

  Args:
    expected: of `reference`.
    found: of a format's `load`.
    images: u8[1, H, W, 3] each.
  """
  pixels = different = ties = 0
  largest = None
  for image in images:
    p, outputs = np.asarray(expected(image)), found(image)
    differs = p.argmax(-1) != np.asarray(outputs['ids'])
    differs |= ~np.isfinite(p).all(-1)
    second, first = np.moveaxis(np.partition(p, -2)[..., -2:], -1, 0)
    pixels += differs.size
    different += int(differs.sum())
    ties += int((differs & (first - second < TIE)).sum())
    if 'probabilities' in outputs:
      distance = np.abs(p - np.asarray(outputs['probabilities'])).max()
      largest = float(np.maximum(largest or 0.0, distance))  # keeps nan
  return Agreement(pixels, different, ties, largest)


def milliseconds(function: Callable, image: np.ndarray) -> float:
  """Return the median time of a call, in milliseconds.

  Of ten calls after a first one, or of as many as three seconds have.
  """
  jax.block_until_ready(function(image))
  times = []
  while len(times) < _ROUNDS and sum(times) < _SECONDS:
    start = time.perf_counter()
    jax.block_until_ready(function(image))
    times.append(time.perf_counter() - start)
  return 1e3 * statistics.median(times)
