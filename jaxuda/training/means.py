"""What steps measure, summed on the devices between two lines of the log."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

COUNTERS = ('skipped', 'skipped_in_row')  # of which the last value is it


class Means:
  """Means of f32[] measurements over the steps since they were last taken.

  A value that is not finite, as of a step that is skipped, is left out. Nothing
  moves to the host before `take`.
  """

  def __init__(self):
    """Start with no step."""
    self._sums: dict | None = None
    self._last: Mapping[str, jax.Array] = {}

  def add(self, measured: Mapping[str, jax.Array]) -> None:
    """Add what a step measured."""
    self._last = {name: measured[name] for name in COUNTERS}
    values = {k: v for k, v in measured.items() if k not in COUNTERS}
    if self._sums is None:
      self._sums = _first(values)
    else:
      self._sums = _add(self._sums, values)

  @property
  def skipped_in_row(self) -> int:
    """How many steps were skipped last; waits for the last step."""
    return int(self._last['skipped_in_row'])

  def take(self) -> dict[str, float]:
    """Return the means and the counters, and start again with no step.

    A mean of nothing is NaN.
    """
    found = {
      name: float(total / count) if count else float('nan')
      for name, (total, count) in jax.device_get(self._sums).items()
    }
    counters = jax.device_get(dict(self._last))
    self._sums = None
    return found | {name: float(value) for name, value in counters.items()}

  def to_json(self) -> dict[str, list[float]]:
    """Return the sums so far, for a checkpoint; {} where there is no step."""
    sums = jax.device_get(self._sums or {})
    return {k: [float(x) for x in pair] for k, pair in sums.items()}

  def restore(self, stored: Mapping[str, list[float]], sharding) -> None:
    """Go on from what `to_json` returned, to the bit.

    Args:
      stored: of `to_json`.
      sharding: of all values.
    """
    pairs = {k: tuple(np.float32(x) for x in p) for k, p in stored.items()}
    self._sums = jax.device_put(pairs, sharding) if pairs else None


@jax.jit
def _first(values):
  return {name: _finite(value) for name, value in values.items()}


@jax.jit
def _add(sums, values):
  return jax.tree.map(jnp.add, sums, _first(values))


def _finite(value):
  """Return (the value, 1), or (0, 0) where it is not finite."""
  known = jnp.isfinite(value)
  return jnp.where(known, value, 0.0), known.astype(jnp.float32)
