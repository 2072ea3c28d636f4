"""Losses that are finite and nonsense: watched beside the step, not in it.

The sum of a step's cross entropies is compared with its running scale, a mean
that one step can raise by a tenth at the most. What grows by more in every step
leaves it behind within a few, whereas a hard batch comes back.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

_PREFIX = 'loss/seg_'
_RATE = 0.01  # of the running mean
_MOST = 10.0  # times the scale, that a step counts with
_LEAST = 0.01  # that a scale is taken to be; a network may know all by heart
_ABSURD = 1e6  # whatever the scale is: a probability of 1e-43 costs 99


class Explosion:
  """The running scale of the cross entropies, on the devices.

  Nothing moves to the host before `in_row` is asked.
  """

  def __init__(self, limit: float | None):
    """Have seen no step.

    Args:
      limit: times the scale; None: nothing is beyond it.
    """
    self._limit = limit
    self._seen: tuple | None = None  # (scale, steps in a row beyond the limit)

  def add(self, measured: Mapping[str, jax.Array]) -> None:
    """Look at what a step measured."""
    losses = {k: v for k, v in measured.items() if k.startswith(_PREFIX)}
    if self._seen is None:
      self._seen = _first(losses, self._limit)
    else:
      self._seen = _next(self._seen, losses, self._limit)

  @property
  def in_row(self) -> int:
    """How many steps were beyond the limit last; waits for the last step."""
    return 0 if self._seen is None else int(self._seen[1])

  @property
  def scale(self) -> float:
    """The running scale of the sum of all cross entropies."""
    return float('nan') if self._seen is None else float(self._seen[0])

  def to_json(self) -> list[float]:
    """Return what was seen so far, for a checkpoint; [] before any step."""
    return [float(x) for x in jax.device_get(self._seen or ())]

  def restore(self, stored: list[float], sharding) -> None:
    """Go on from what `to_json` returned, to the bit.

    Args:
      stored: of `to_json`.
      sharding: of all values.
    """
    if stored:
      scale, in_row = np.float32(stored[0]), np.int32(stored[1])
      self._seen = jax.device_put((scale, in_row), sharding)


@functools.partial(jax.jit, static_argnames='limit')
def _first(losses, limit):
  return _next((_total(losses), jnp.zeros((), jnp.int32)), losses, limit)


@functools.partial(jax.jit, static_argnames='limit')
def _next(seen, losses, limit):
  """Return what is seen after a further step.

  One that is not finite is skipped by training, and counted there.
  """
  scale, in_row = seen
  total = _total(losses)
  finite = jnp.isfinite(total)
  beyond = jnp.zeros((), bool)
  if limit is not None:
    beyond = total > jnp.minimum(limit * jnp.maximum(scale, _LEAST), _ABSURD)
  moved = scale + _RATE * (jnp.minimum(total, _MOST * scale) - scale)
  moved = jnp.where(jnp.isfinite(scale), moved, total)
  return (
    jnp.where(finite, moved, scale),
    jnp.where(finite, jnp.where(beyond, in_row + 1, 0), in_row),
  )


def _total(losses):
  return sum((jnp.abs(value) for value in losses.values()), jnp.zeros(()))
