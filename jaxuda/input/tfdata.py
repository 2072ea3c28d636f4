"""How tf.data runs for decode.py and pipeline.py: few threads, a clean end."""

import types
import weakref
from collections.abc import Iterator
from typing import Any

from jaxuda.datasets import pool


def elements(dataset: Any) -> Iterator[Any]:
  """Iterate over the elements of a dataset, as NumPy arrays.

  TensorFlow's threads call Python to read, and end with the iterator. If they
  were still there when Python ends, the process would abort or hang; therefore
  the iterator is dropped at exit, too.
  """
  iterator = [dataset.as_numpy_iterator()]

  def iterate():
    while True:
      try:
        element = next(iterator[0])
      except StopIteration:
        return
      yield element

  generator = iterate()
  weakref.finalize(generator, iterator.clear)
  return generator


def workers() -> int:
  """Return how many examples are decoded at a time."""
  return min(pool.cores(), 16)


def options(tf: types.ModuleType) -> Any:
  """Return tf.data options: deterministic, and few threads."""
  chosen = tf.data.Options()
  chosen.deterministic = True
  # Training needs the cores: no more threads than there are examples decoded
  # at a time, and none that measures and tunes.
  chosen.autotune.enabled = False
  chosen.threading.private_threadpool_size = workers()
  # One thread an op: sums do not depend on how many cores a machine has.
  chosen.threading.max_intra_op_parallelism = 1
  return chosen
