"""The order of the examples: one infinite sequence for each stream."""

import functools
import zlib

import numpy as np


def order(
  num_examples: int, seed: int, stream: str, start: int, count: int
) -> np.ndarray:
  """Positions start..start+count of the endless sequence of shuffled epochs.

  Epoch e is default_rng((seed, crc32(stream), e)).permutation(num_examples),
  so every epoch holds every example once and no position depends on what was
  read before it.

  Args:
    num_examples: size of an epoch.
    seed: at least 0.
    stream: name of the stream; streams of one seed are shuffled independently.
    start: first position, at least 0.
    count: how many positions.

  Returns:
    i64[count], each in [0, num_examples).
  """
  positions = np.arange(start, start + count)
  indices = np.empty(count, np.int64)
  epochs = positions // num_examples
  for epoch in np.unique(epochs):
    here = epochs == epoch
    permutation = _epoch(num_examples, seed, stream, int(epoch))
    indices[here] = permutation[positions[here] % num_examples]
  return indices


# A batch spans at most two epochs of each of a few streams: with these kept,
# the cost of a slice is that of copying it.
@functools.lru_cache(maxsize=8)
def _epoch(num_examples, seed, stream, epoch):
  rng = np.random.default_rng((seed, zlib.crc32(stream.encode()), epoch))
  return rng.permutation(num_examples)
