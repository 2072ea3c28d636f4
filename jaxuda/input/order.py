"""The order of a stream's examples: shuffled epochs, or draws by their classes.

Each is one endless sequence, a function of (seed, stream) and the examples.
"""

import dataclasses
import functools
import threading
import zlib

import numpy as np

SUB_EPOCH = 3_000  # draws after which FADA counts the classes from zero again


def shuffled_epochs(
  num_examples: int, seed: int, stream: str, start: int, count: int
) -> np.ndarray:
  """Return positions start..start+count of an endless sequence of epochs.

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


def class_weights(shares: np.ndarray) -> np.ndarray:
  """Return the probability with which each class is drawn next.

  (FADA, core/datasets/gta5.py.) A class that has not been seen yet has about
  twenty times the weight of one with a share of 1/5.

  Args:
    shares: f64[C], of the classes among those seen so far; zeros at first.

  Returns:
    f64[C]: 1 / log(1.01 + share), divided by their sum.
  """
  inverse = 1 / np.log(1.01 + shares)
  return inverse / inverse.sum()


class ClassBalanced:
  """An endless sequence of images in which rare classes are frequent.

  The order in which FADA draws its source images. A class is drawn with the
  `class_weights` of what this sub-epoch of 3,000 draws has shown so far, where
  an image counts once for each of its classes; then comes the next image of
  that class's own list. A list that is used up is shuffled and starts again at
  its second entry, as in FADA. The lists start in a random order; FADA's start
  in that of the file system.

  FADA shuffles all draws of a training together; here each sub-epoch is
  shuffled by itself, so that the sequence does not depend on how long a run is.

  The sequence is a function of the constructor's arguments alone. As the lists
  go on from sub-epoch to sub-epoch, the first request is computed from the
  start: some 20 us for each draw before it, seconds at a run's last step.

  Args:
    present: bool[N, C], which classes each image has, at least one in all.
      Classes without an image are never drawn, nor are images without a class.
    seed: at least 0.
    stream: name of the stream.
  """

  def __init__(self, present: np.ndarray, seed: int, stream: str):
    there = present[:, present.any(0)]
    key = zlib.crc32(f'{stream}, class-balanced'.encode())
    self._rng = np.random.default_rng((seed, key))
    self._present = there.astype(np.float64)
    self._lists = [self._rng.permutation(np.flatnonzero(c)) for c in there.T]
    self._next = [0] * len(self._lists)
    self._sub_epochs: list[np.ndarray] = []
    # tf.data's threads call this, and so does whoever explains their errors.
    self._lock = threading.Lock()

  def __call__(self, start: int, count: int) -> np.ndarray:
    """Return the images at positions start..start+count: i64[count]."""
    positions = np.arange(start, start + count)
    epochs, places = np.divmod(positions, SUB_EPOCH)
    with self._lock:
      while len(self._sub_epochs) <= epochs.max(initial=-1):
        self._sub_epochs.append(self._rng.permutation(self.draw()))
    images = [
      self._sub_epochs[e][p] for e, p in zip(epochs, places, strict=True)
    ]
    return np.array(images, np.int64)

  def draw(self) -> np.ndarray:
    """Draw the next sub-epoch; return it in this order: i32[SUB_EPOCH]."""
    images = np.empty(SUB_EPOCH, np.int32)
    counts = np.zeros(len(self._lists))
    for i, uniform in enumerate(self._rng.random(SUB_EPOCH)):
      edges = class_weights(counts / max(counts.sum(), 1)).cumsum()
      drawn = edges.searchsorted(uniform * edges[-1], side='right')
      images[i] = self._take(drawn)
      counts += self._present[images[i]]
    return images

  def _take(self, index):
    """Take the next image of a class's list."""
    images, at = self._lists[index], self._next[index]
    if at == len(images):
      self._rng.shuffle(images)
      # FADA's `index % (length - 1)`, which is 0 for two and no number for one.
      at = 1 if len(images) > 2 else 0
    self._next[index] = at + 1
    return images[at]


@dataclasses.dataclass(frozen=True)
class RareClassSettings:
  """How rare classes are drawn (DAFormer, section 3.3).

  Attributes:
    temperature: of the softmax; 0.01 draws almost only rare classes.
    pixels: an image is drawn for a class of which it has more than these.
    crop_share: how much of these pixels a crop is to have, at least; crops of
      an image are drawn again up to ten times.
  """

  temperature: float = 0.01
  pixels: int = 3_000
  crop_share: float = 0.5


def rare_class_weights(shares: np.ndarray, temperature: float) -> np.ndarray:
  """Return the chance of each class: softmax((1 - f_c) / T), f64[C].

  Args:
    shares: f_c, of all labelled pixels.
    temperature: T.
  """
  exponents = (shares.min() - shares) / temperature  # the largest is 0
  weights = np.exp(exponents)
  return weights / weights.sum()


class RareClass:
  """An endless sequence of images, each drawn for a class that it has.

  A class by `rare_class_weights`, then one of the images with more than enough
  of its pixels, all alike (DAFormer, uda_dataset.py). A draw is a function of
  (seed, stream, position) and the images.

  Args:
    counts: i64[N, C], pixels of each class in each image.
    settings: how classes are drawn.
    seed: at least 0.
    stream: name of the stream.
  """

  def __init__(
    self,
    counts: np.ndarray,
    settings: RareClassSettings,
    seed: int,
    stream: str,
  ):
    enough = counts > settings.pixels
    self._classes = np.flatnonzero(enough.any(0))
    shares = counts.sum(0) / counts.sum()
    weights = rare_class_weights(shares[self._classes], settings.temperature)
    self._edges = weights.cumsum()
    self._images = [np.flatnonzero(enough[:, c]) for c in self._classes]
    self._key = seed, zlib.crc32(f'{stream}, rare classes'.encode())

  def __call__(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the images at positions start..start+count, and their classes."""
    found = np.empty((2, count), np.int64)
    for i in range(count):
      rng = np.random.default_rng((*self._key, start + i))
      edge = rng.random() * self._edges[-1]
      drawn = self._edges.searchsorted(edge, side='right')
      found[:, i] = rng.choice(self._images[drawn]), self._classes[drawn]
    return found[0], found[1]
