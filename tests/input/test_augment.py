"""Augmentation: image and label stay aligned, colours are as calculated."""

import colorsys

import numpy as np
import pytest

from jaxuda.input import Augment, augment
from jaxuda.utils import tensorflow as tf_lib
from jaxuda.utils.errors import UserError

tf = tf_lib.import_tensorflow()
HEIGHT, WIDTH = 12, 16
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]


def _coordinates():
  """An image and a label that both say where each pixel comes from."""
  image = np.stack([ROWS, COLUMNS, np.full_like(ROWS, 200)], -1)
  return image.astype(np.uint8), (ROWS * WIDTH + COLUMNS).astype(np.uint8)


def _apply(op, image, label, seed):
  image, label = op(tf.constant(image), tf.constant(label), (7, seed))
  return image.numpy(), label.numpy()


def _mosaic(seed=0):
  """Blocks of random colours: HSV hues all around, and some greys."""
  rng = np.random.default_rng(seed)
  blocks = rng.integers(0, 256, (6, 8, 3), np.uint8)
  blocks[0] = blocks[0, :, :1]
  return blocks.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize(
  'op', [Augment(flip=True), Augment(crop=(5, 6)), Augment(True, crop=(12, 7))]
)
def test_flip_and_crop_keep_image_and_label_together(op):
  shapes, corners = set(), set()
  for seed in range(120):
    image, label = _apply(op, *_coordinates(), seed)
    image = image.astype(int)
    np.testing.assert_array_equal(label, image[..., 0] * 16 + image[..., 1])
    assert (np.diff(image[..., 0], axis=0) == 1).all()
    assert (abs(np.diff(image[..., 1], axis=1)) == 1).all()
    shapes.add(label.shape)
    corners.add((image[..., 0].min(), image[..., 1].min()))
  assert shapes == {tuple(op.crop) or (HEIGHT, WIDTH)}
  height, width = op.crop or (HEIGHT, WIDTH)
  places = (HEIGHT - height + 1) * (WIDTH - width + 1)
  assert places * 0.5 <= len(corners) <= places  # 120 draws of at most 88


def test_half_of_the_images_are_flipped():
  image, label = _coordinates()
  flips = [
    _apply(Augment(flip=True), image, label, s)[1][0, 0] == WIDTH - 1
    for s in range(400)
  ]
  assert 160 <= sum(flips) <= 240  # four standard deviations


def test_scale_keeps_image_and_label_together():
  image, label = _coordinates()
  image[..., 0] *= 16
  image[..., 1] *= 16
  for seed in range(40):
    op = Augment(scale=(0.5, 2.0), crop=(14, 18))
    scaled, ids = _apply(op, image, label, seed)
    valid = ids != 255
    np.testing.assert_array_equal(valid, scaled[..., 2] == 200)
    np.testing.assert_array_equal(valid, scaled.any(-1))
    assert valid.any()
    # Between two pixels the image is interpolated, the label is not.
    rows, columns = ids // 16, ids % 16
    assert abs(scaled[..., 0] / 16 - rows)[valid].max() <= 0.9
    assert abs(scaled[..., 1] / 16 - columns)[valid].max() <= 0.9


def test_scaled_sizes_and_padding():
  image, label = _coordinates()
  sizes, places = set(), set()
  for seed in range(150):
    _, ids = _apply(
      Augment(scale=(0.5, 1.0), crop=(12, 16)), image, label, seed
    )
    rows, columns = np.nonzero(ids != 255)
    sizes.add((np.ptp(rows) + 1, np.ptp(columns) + 1))
    places.add((rows.min(), columns.min()))
  heights, widths = ({s[axis] for s in sizes} for axis in (0, 1))
  # floor(12 s) and floor(16 s) for s in [0.5, 1).
  assert heights == {6, 7, 8, 9, 10, 11} and widths == {*range(8, 16)}
  assert (0, 0) in places and max(places)[0] >= 5  # anywhere in the crop


def test_scale_by_two_against_pillow():
  import PIL.Image

  image = _mosaic()
  label = np.random.default_rng(0).integers(0, 34, (12, 16), np.uint8)
  for factor in (0.5, 2):
    crop = int(12 * factor), int(16 * factor)
    op = Augment(scale=(factor, factor), crop=crop)
    scaled, ids = _apply(op, image, label, 0)
    for ours, source, method, tolerance in (
      (scaled, image, PIL.Image.Resampling.BILINEAR, 1),
      (ids, label, PIL.Image.Resampling.NEAREST, 0),
    ):
      picture = PIL.Image.fromarray(source).resize(crop[::-1], method)
      assert abs(ours.astype(int) - np.asarray(picture)).max() <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize(
  'op',
  [
    Augment(flip=True),
    Augment(jitter=(0.5, 0.5, 0.5, 0.2)),
    Augment(True, (0.5, 0.5, 0.5, 0.2), (0.5, 1.5), (10, 20)),
  ],
)
def test_eager_and_tf_data_agree(op):
  image, (_, label) = _mosaic(), _coordinates()
  for use in (label, None):
    dataset = tf.data.Dataset.range(20).map(
      lambda seed, use=use: tuple(
        x for x in op(tf.constant(image), use, (7, seed)) if x is not None
      )
    )
    for seed, inside in enumerate(dataset.as_numpy_iterator()):
      outside = op(tf.constant(image), use, (7, seed))
      for left, right in zip(inside, outside, strict=False):
        np.testing.assert_array_equal(left, right)


def _colour_by_hand(image, strengths, draw):
  """torchvision's ColorJitter in float64, for given uniform draws."""
  brightness, contrast, saturation, hue = strengths
  x = image / 255.0
  luma = np.array([0.299, 0.587, 0.114])

  def factor(strength, u):
    return np.interp(u, [0, 1], [max(0, 1 - strength), 1 + strength])

  f = factor(brightness, draw[0])
  x = np.clip(f * x, 0, 1)
  f = factor(contrast, draw[1])
  x = np.clip(f * x + (1 - f) * (x @ luma).mean(), 0, 1)
  f = factor(saturation, draw[2])
  x = np.clip(f * x + (1 - f) * (x @ luma)[..., None], 0, 1)
  shift = -hue + 2 * hue * draw[3]
  for pixel in x.reshape(-1, 3):
    h, s, v = colorsys.rgb_to_hsv(*pixel)
    pixel[:] = colorsys.hsv_to_rgb((h + shift) % 1, s, v)
  return x * 255


@pytest.mark.parametrize(
  'strengths',
  [
    (0.5, 0, 0, 0),
    (0, 0.5, 0, 0),
    (0, 0, 0.5, 0),
    (0, 0, 0, 0.5),
    (1.5, 0.3, 2.0, 0.1),
  ],
)
def test_jitter_against_numpy_and_colorsys(strengths):
  rng = np.random.default_rng(1)
  for trial in range(8):
    image, draw = _mosaic(trial), rng.random(4).astype(np.float32)
    ours = augment._jitter(tf, tf.constant(image), strengths, draw).numpy()
    expected = _colour_by_hand(image, strengths, draw)
    assert abs(ours - expected).max() <= 0.51  # rounding to uint8
    assert (ours != image).any()


def test_brightness_covers_its_range():
  grey = np.full((4, 4, 3), 100, np.uint8)
  op = Augment(jitter=(0.5, 0, 0, 0))
  levels = [_apply(op, grey, grey[..., 0], s)[0][0, 0, 0] for s in range(200)]
  assert 50 <= min(levels) < 56 and 144 < max(levels) <= 150
  assert 92 < np.mean(levels) < 108


def test_neutral_settings_change_nothing():
  image, label = _mosaic(), _coordinates()[1]
  same = _apply(Augment(False, (0, 0, 0, 0), (1, 1), (0, 0)), image, label, 0)
  np.testing.assert_array_equal(same[0], image)
  np.testing.assert_array_equal(same[1], label)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'jitter': (0, 0, 0, 0.6)}, r'jitter=.*hue, must be at most 0\.5'),
    ({'scale': (1.5, 0.5), 'crop': (4, 4)}, r'scale=.* must be lo, hi'),
    ({'scale': (0.5, 1.5)}, r'scale=\(0.5, 1.5\) needs config\.source\.crop='),
    ({'crop': (0, 5)}, r'crop=\(0, 5\): both sides must be above 0'),
  ],
)
def test_wrong_settings_are_refused(settings, message):
  with pytest.raises(UserError, match=rf'^config\.source\.{message}'):
    Augment(**settings).check('config.source')


def test_crop_larger_than_the_image_names_both_sizes():
  with pytest.raises(UserError, match=r'crop 13x8 .* images, 12x16'):
    _apply(Augment(crop=(13, 8)), *_coordinates(), 0)


MINED = (200, 201)


def _with_rare_pixels(*pixels):
  """The coordinates, with some pixels of mined classes among them."""
  image, label = _coordinates()
  label = np.minimum(label, 190)
  for (y, x), number in pixels:
    label[y, x] = number
  return image, label


def test_crops_are_centred_on_mined_classes():
  """On a pixel of one of them, and shifted into the image (CRST)."""
  image, label = _with_rare_pixels(((6, 8), 200), ((0, 15), 201))
  op = Augment(crop=(4, 6), mined=(*MINED, 202), mining_chance=1.0)
  corners = set()
  for seed in range(40):
    found, _ = _apply(op, image, label, seed)
    corners.add(tuple(found[0, 0, :2].tolist()))
  assert corners == {(6 - 2, 8 - 3), (0, 16 - 6)}


def test_the_chance_of_mining():
  """Elsewhere, and without such pixels, crops lie as they do otherwise."""
  image, label = _with_rare_pixels(((6, 8), 200))
  plain = Augment(crop=(4, 6))
  half = Augment(crop=(4, 6), mined=MINED, mining_chance=0.5)
  centred = 0
  for seed in range(100):
    usual = _apply(plain, image, label, seed)[0]
    found = _apply(half, image, label, seed)[0]
    if found[0, 0, :2].tolist() == [4, 5]:
      centred += 1
    else:
      np.testing.assert_array_equal(found, usual)
  assert 30 < centred < 70
  nothing = _with_rare_pixels()
  for seed in range(10):
    np.testing.assert_array_equal(
      _apply(half, *nothing, seed)[0], _apply(plain, *nothing, seed)[0]
    )
  with pytest.raises(UserError, match=r'c\.mining\.share needs c\.crop'):
    Augment(mined=MINED).check('c')
