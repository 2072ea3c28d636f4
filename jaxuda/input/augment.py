"""Augmentation of one example: a pure function of its pixels and a seed."""

import dataclasses
import functools
from typing import Any

from jaxuda.labels import IGNORE
from jaxuda.utils import tensorflow as tf_lib
from jaxuda.utils.errors import UserError

# ITU-R 601 luma, with which Pillow and torchvision turn RGB into grey.
LUMA = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True)
class Augment:
  """Colour jitter, then scale and crop, then flip: the order of FADA's loader.

  (FADA, core/datasets/build.py.) Images are uint8 before and after.

  Attributes:
    flip: mirror image and label together, with probability 1/2.
    jitter: strengths (brightness, contrast, saturation, hue); () or zeros for
      none. Factors are drawn as by torchvision's ColorJitter, from
      [max(0, 1 - strength), 1 + strength], and the shift of the hue from
      [-hue, hue] turns, hue <= 0.5; but the four are always applied in this
      order, and pixels are rounded once, at the end.
    scale: range (lo, hi) of a random scale; () or (1, 1) for none. It needs a
      crop, as the images of a batch have one size. Bilinear with antialiasing
      for images, nearest for labels.
    crop: (H, W) of a random crop; () or (0, 0) for none. A scaled image that
      is smaller is padded, image 0 and label 255, and lies at a random place.
    max_class_share: crops are drawn again, up to ten times, until they have two
      classes, of which none has this share of the labelled pixels (mmseg's
      cat_max_ratio; 0.75 in DAFormer's line); 1 for any crop.
    mined: classes on which crops are centred, of an image that has some of
      them: on a random pixel of one of these (CRST, deeplab/datasets.py).
    mining_chance: of a crop to be centred so.
  """

  flip: bool = False
  jitter: tuple[float, ...] = ()
  scale: tuple[float, ...] = ()
  crop: tuple[int, ...] = ()
  max_class_share: float = 1.0
  mined: tuple[int, ...] = ()
  mining_chance: float = 0.0

  @property
  def _scales(self):
    return bool(set(self.scale) - {1})

  def check(self, key: str) -> None:
    """Refuse values that a stream's settings may have, but that cannot work.

    Args:
      key: of the stream in a config: 'config.source'.

    Raises:
      UserError: names the keys.
    """
    if self.jitter and self.jitter[3] > 0.5:
      raise UserError(
        f'{key}.jitter={self.jitter}: the last one, of the hue, must be at '
        'most 0.5.'
      )
    if self.scale and not 0 < self.scale[0] <= self.scale[1]:
      raise UserError(f'{key}.scale={self.scale} must be lo, hi: 0 < lo <= hi.')
    if self.mined and not any(self.crop):
      raise UserError(
        f'{key}.mining.share needs {key}.crop: crops are centred on classes.'
      )
    if any(self.crop) and not all(self.crop):
      raise UserError(f'{key}.crop={self.crop}: both sides must be above 0.')
    if self._scales and not any(self.crop):
      raise UserError(
        f'{key}.scale={self.scale} needs {key}.crop=HEIGHTxWIDTH: the images '
        'of a batch have one size.'
      )

  def check_size(self, size: tuple[int, int], key: str = '') -> None:
    """Raise UserError if the crop does not fit into images of this size."""
    if not any(self.crop) or self._scales:
      return
    (height, width), (crop_height, crop_width) = size, self.crop
    if crop_height > height or crop_width > width:
      raise UserError(
        f'{key}crop {crop_height}x{crop_width} (height x width) is larger than '
        f'the images, {height}x{width}; with a scale they would be padded.'
      )

  def __call__(
    self, image: Any, label: Any, seed: Any, wanted: Any = None
  ) -> tuple[Any, Any]:
    """Augment one example; works eagerly and in a tf.data graph.

    Args:
      image: u8[H, W, 3] tensor.
      label: u8[H, W] or u8[H, W, K] tensor, or None.
      seed: i64[2] tensor.
      wanted: (class, pixels): crops are drawn again, up to ten times, until
        they have more than so many pixels of the class; None for any crop.

    Returns:
      (image u8[h, w, 3], label u8[h, w], u8[h, w, K] or None).
    """
    tf = tf_lib.import_tensorflow()
    if tf.executing_eagerly():  # in a graph the size may not be known yet
      self.check_size(image.shape[:2])
    # All draws at once, each with its own place: switching one augmentation
    # on or off does not change what the others draw.
    draw = tf.random.stateless_uniform([8], seed, alg='philox')
    if any(self.jitter):
      image = _jitter(tf, image, self.jitter, draw[0:4])
    if self._scales:
      image, label = _rescale(tf, image, label, self.scale, draw[4])
    if any(self.crop):
      pads = self._scales
      places = draw[None, 5:7]
      chosen = self.max_class_share < 1 or wanted is not None
      if chosen and label is not None:
        other = tf.random.experimental.stateless_fold_in(tf.stack(seed), 1)
        more = tf.random.stateless_uniform(
          [_PLACES - 1, 2], other, alg='philox'
        )
        places = tf.concat([places, more], 0)
      choose = functools.partial(
        _choose, tf, max_share=self.max_class_share, wanted=wanted
      )
      centre = None
      if self.mined and label is not None:
        other = tf.random.experimental.stateless_fold_in(tf.stack(seed), 2)
        mining = tf.random.stateless_uniform([3], other, alg='philox')
        centre = functools.partial(
          _centre, tf, self.mined, self.mining_chance, mining
        )
      image, label = _crop(
        tf, image, label, self.crop, pads, places, choose, centre
      )
    if self.flip:
      image, label = _flip(tf, image, label, draw[7] < 0.5)
    return image, label


def _jitter(tf, image, strengths, draw):
  brightness, contrast, saturation, hue = strengths
  x = tf.cast(image, tf.float32) / 255

  def blend(x, other, strength, u):
    low = max(0.0, 1 - strength)
    factor = low + (1 + strength - low) * u
    return tf.clip_by_value(other + factor * (x - other), 0, 1)

  if brightness:
    x = blend(x, 0.0, brightness, draw[0])
  if contrast:
    mean = tf.reduce_mean(x, [0, 1])  # the mean grey is the grey of the mean
    x = blend(x, tf.reduce_sum(mean * LUMA), contrast, draw[1])
  if saturation:
    grey = tf.tensordot(x, tf.constant(LUMA)[:, None], 1)
    x = blend(x, grey, saturation, draw[2])
  if hue:
    x = tf.image.adjust_hue(x, hue * (2 * draw[3] - 1))
  return _to_uint8(tf, x * 255)


def _rescale(tf, image, label, scale, draw):
  low, high = scale
  factor = low + (high - low) * draw
  size = tf.cast(tf.cast(tf.shape(image)[:2], tf.float32) * factor, tf.int32)
  size = tf.maximum(size, 1)
  image = tf.image.resize(image, size, 'bilinear', antialias=True)
  if label is not None:
    maps = label if len(label.shape) == 3 else label[..., None]
    maps = tf.image.resize(maps, size, 'nearest')
    label = maps if len(label.shape) == 3 else maps[..., 0]
  return _to_uint8(tf, image), label


def _crop(tf, image, label, crop, pads, places, choose, centre=None):
  size = tf.shape(image)[:2]
  if pads:
    # On both sides, so that the image can lie anywhere (FADA,
    # core/datasets/transform.py).
    pad = tf.maximum(tf.constant(crop) - size, 0)
  else:
    tf.debugging.assert_greater_equal(size, tf.constant(crop))
    pad = tf.zeros([2], tf.int32)
  room = size + 2 * pad - crop + 1
  corners = tf.cast(places * tf.cast(room, tf.float32), tf.int32)
  corner = corners[0]
  if corners.shape[0] > 1 or centre is not None:
    classes = label if len(label.shape) == 2 else label[..., 0]
    margins = [[pad[0], pad[0]], [pad[1], pad[1]]]
    classes = tf.pad(classes, margins, constant_values=IGNORE)
    if corners.shape[0] > 1:
      corner = corners[choose(classes, corners, crop)]
    if centre is not None:
      corner = centre(classes, corner, crop)
  y, x = tf.unstack(corner)

  def cut(pixels, shape, fill):
    margins = [[pad[0], pad[0]], [pad[1], pad[1]], [0, 0]][: len(shape)]
    pixels = tf.pad(pixels, margins, constant_values=fill)
    pixels = pixels[y : y + crop[0], x : x + crop[1]]
    return tf.ensure_shape(pixels, shape)

  image = cut(image, (*crop, 3), 0)
  if label is not None:
    label = cut(label, (*crop, *label.shape[2:]), IGNORE)
  return image, label


# As often as a crop may be drawn for its shares, as often each for its class.
_TRIES = 11
_PLACES = _TRIES * _TRIES


def _choose(tf, label, corners, crop, max_share, wanted):
  """Return the index of the first corner whose crop is as it is to be.

  The last of a row of tries is taken as it comes, as in mmseg's RandomCrop and
  DAFormer's uda_dataset.py.
  """

  def following(index):
    """Return the index to try next: the same, where the crop is good."""
    y, x = tf.unstack(corners[index])
    part = tf.cast(label[y : y + crop[0], x : x + crop[1]], tf.int32)
    counts = tf.math.bincount(tf.reshape(part, [-1]), minlength=256)[:IGNORE]
    most, total = tf.reduce_max(counts), tf.reduce_sum(counts)
    shares = tf.logical_and(
      most < total,
      tf.cast(most, tf.float32) < max_share * tf.cast(total, tf.float32),
    )
    last = index % _TRIES == _TRIES - 1
    shares = tf.logical_or(shares, last if max_share < 1 else True)
    enough = tf.constant(True)
    if wanted is not None:
      enough = tf.logical_or(
        tf.cast(counts[wanted[0]], tf.float32) > wanted[1],
        index // _TRIES == _TRIES - 1,
      )
    row = (index // _TRIES + 1) * _TRIES
    return tf.where(shares, tf.where(enough, index, row), index + 1)

  def step(index, _):
    after = following(index)
    return after, tf.equal(after, index)

  index, _ = tf.while_loop(
    lambda _, good: tf.logical_not(good), step, (tf.constant(0), False)
  )
  return index


def _centre(tf, mined, chance, draw, label, corner, crop):
  """Return the corner of a crop around a pixel of a mined class.

  Args:
    tf: TensorFlow.
    mined: class indices.
    chance: of its being centred.
    draw: f32[3], for the chance, the class and the pixel.
    label: u8[H, W].
    corner: what is returned otherwise, and of an image without these classes.
    crop: (h, w).
  """
  counts = tf.math.bincount(
    tf.reshape(tf.cast(label, tf.int32), [-1]), minlength=256
  )
  there = tf.boolean_mask(mined, tf.gather(counts, mined) > 0)
  number = tf.shape(there)[0]

  def pick(uniform, count):
    return tf.cast(uniform * tf.cast(count, tf.float32), tf.int32)

  def centred():
    pixels = tf.where(tf.cast(label, tf.int32) == there[pick(draw[1], number)])
    pixel = pixels[pick(draw[2], tf.shape(pixels)[0])]
    first = tf.cast(pixel, tf.int32) - tf.constant(crop) // 2
    room = tf.shape(label) - tf.constant(crop)
    return tf.clip_by_value(first, 0, room)

  mines = tf.logical_and(draw[0] < chance, number > 0)
  return tf.cond(mines, centred, lambda: corner)


def _flip(tf, image, label, flip):
  def mirror(pixels):
    # tf.reverse takes a twentieth of the time of a slice with step -1.
    return tf.cond(flip, lambda: tf.reverse(pixels, [1]), lambda: pixels)

  return mirror(image), None if label is None else mirror(label)


def _to_uint8(tf, x):
  return tf.cast(tf.clip_by_value(tf.round(x), 0, 255), tf.uint8)
