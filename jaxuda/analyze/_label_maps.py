"""What a domain classifier sees of label maps: arrays in, arrays out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxuda import labels
from jaxuda.labels import IGNORE
from jaxuda.methods import _views as views

Array = jax.Array

ENCODINGS = ('one_hot', 'ids', 'colors')
VOIDS = ('filled', 'class')


@dataclasses.dataclass(frozen=True)
class Look:
  """How label maps are shown to a classifier.

  Attributes:
    size: (H, W) to which maps are resized, before and after cropping.
    patch: side of a random square patch in pixels of `size`; None for the
      whole map.
    space: name of the class space.
    encoding: one of ENCODINGS, see `codes`.
    void: one of VOIDS: 'filled', where each ignored pixel has the class of the
      nearest labelled one, see `fill`; or 'class', a class of their own.
  """

  size: tuple[int, int]
  patch: int | None
  space: str
  encoding: str
  void: str

  def __call__(self, label: Array, keys: Array) -> Array:
    """Map class indices u8[B, h, w] and key[B] to f32[B, H, W, D]."""
    label = self.whole(label)
    if self.patch is not None:
      corners = views.patch_corners(keys, 1, self.size, self.patch)
      label = views.crop(label[..., None], corners, self.patch)[..., 0]
      label = resize(label, self.size)
    table = codes(self.space, self.encoding, self.void)
    return jnp.asarray(table)[jnp.minimum(label, len(table) - 1)]

  def whole(self, label: Array) -> Array:
    """Return u8[B, H, W], from which patches are cut, of u8[B, h, w]."""
    label = resize(label, self.size)
    return fill(label) if self.void == 'filled' else label


def resize(label: Array, size: tuple[int, int]) -> Array:
  """Resize (nearest) u8[B, h, w] to u8[B, *size], as Pillow prepares datasets.

  Row i reads row floor((i + 1/2) h / H).
  """
  for axis, large in enumerate(size, 1):
    small = label.shape[axis]
    if small != large:
      step = small / large
      # Added up as Pillow does it: its rounding decides where pixels meet.
      at = np.cumsum([step / 2, *[step] * (large - 1)])
      label = label.take(at.astype(int), axis)
  return label


def fill(label: Array) -> Array:
  """Give ignored pixels the class of the nearest labelled one.

  That is the nearest one above or below; then, in columns without any, the
  nearest one on the left or right. A map without labels stays as it is.

  Args:
    label: u8[B, H, W], 255 where ignored.
  """
  for axis in (1, 2):
    length = label.shape[axis]
    at = jnp.expand_dims(jnp.arange(length), (0, 3 - axis))
    known = label != IGNORE
    before = jax.lax.cummax(jnp.where(known, at, -length), axis)
    after = jax.lax.cummin(jnp.where(known, at, 2 * length), axis, reverse=True)
    nearest = jnp.where(at - before <= after - at, before, after)
    nearest = jnp.clip(nearest, 0, length - 1)
    label = jnp.take_along_axis(label, nearest, axis)
  return label


def codes(space: str, encoding: str, void: str) -> np.ndarray:
  """Return f32[C + 1, D]: the code of each class, and of what is ignored.

  Args:
    space: name of the class space.
    encoding: 'one_hot', a channel for each class, as in the softmax maps that a
      discriminator sees, so that no order of the classes is invented; 'ids',
      one channel of the index over C; 'colors', the classes' RGB in 0..1.
    void: 'class', where what is ignored is one channel more, the index C, or
      black; 'filled', where there is no such channel.
  """
  classes = labels.space(space)
  count = len(classes.classes)
  if encoding == 'one_hot':
    table = np.eye(count + 1)[:, : count + (void == 'class')]
  elif encoding == 'ids':
    table = np.arange(count + 1)[:, None] / count
  else:
    table = np.concatenate([classes.colors / 255, np.zeros((1, 3))])
  return table.astype(np.float32)
