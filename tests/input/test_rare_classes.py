"""DAFormer's input: rare class sampling, crops by their classes, margins."""

import itertools

import numpy as np
import prepared
import pytest
import tiny
from prepared import SIZE

from jaxuda import config as config_lib
from jaxuda import input as input_lib
from jaxuda.input import Augment, Stream, from_config
from jaxuda.input.order import (
  RareClass,
  RareClassSettings,
  rare_class_weights,
)
from jaxuda.utils.errors import UserError

COUNTS = np.array(
  [
    [900, 100, 0, 3],
    [800, 0, 0, 0],
    [700, 40, 60, 0],
    [600, 30, 90, 0],
  ]
)


@pytest.mark.parametrize(
  ('shares', 'temperature', 'expected'),
  [
    (
      (0.5, 0.3, 0.15, 0.05),
      0.01,
      (2.8623886e-20, 1.3887313e-11, 4.5397868e-05, 0.99995460),
    ),
    (
      (0.5, 0.3, 0.15, 0.05),
      0.1,
      (0.00760331, 0.05618130, 0.25178710, 0.68442829),
    ),
    (
      (0.40, 0.30, 0.20, 0.05, 0.03, 0.02),
      0.05,
      (2.0860e-4, 1.54138e-3, 0.01138932, 0.22876069, 0.34127085, 0.41682916),
    ),
  ],
)
def test_weights(shares, temperature, expected):
  found = rare_class_weights(np.array(shares), temperature)
  np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_draws():
  """By class, then alike among the images that have enough of it."""
  settings = RareClassSettings(temperature=1.0, pixels=35)
  order = RareClass(COUNTS, settings, seed=3, stream='source')
  images, classes = order(0, 4000)
  shares = COUNTS.sum(0) / COUNTS.sum()
  chances = np.exp(1 - shares[:3])
  chances /= chances.sum()
  for c in range(3):
    assert (classes == c).mean() == pytest.approx(chances[c], abs=0.03)
  assert set(classes) == {0, 1, 2}  # three pixels of class 3 are too few
  assert set(images[classes == 1]) == {0, 2}
  assert (images[classes == 2] == 3).mean() == pytest.approx(0.5, abs=0.06)


def test_a_draw_is_a_function_of_its_place():
  settings = RareClassSettings(0.1, pixels=35)
  order = RareClass(COUNTS, settings, seed=3, stream='source')
  whole, _ = order(0, 40)
  np.testing.assert_array_equal(order(17, 9)[0], whole[17:26])
  other = RareClass(COUNTS, settings, seed=4, stream='source')
  assert (other(0, 40)[0] != whole).any()


def corner_label(raw_id):
  """Return a road with 4x6 pixels of a class in the last corner."""
  label = np.full(SIZE, 7, np.uint8)
  label[-4:, -6:] = raw_id
  return label


@pytest.fixture
def records(tmp_path):
  made = [
    prepared.noise(i, label=prepared.png(corner_label(26 if i else 7)))
    for i in range(3)
  ]
  prepared.write(tmp_path, 'gta5', SIZE, {'train': made})
  return input_lib.open_records('gta5', SIZE, 'train', tmp_path)


def take(count, stream, seed=3):
  batches = input_lib.train_batches({'source': stream}, seed=seed)
  return [b['source'] for b in itertools.islice(batches, count)]


def cars(batches):
  """Return the pixels of cars (class 13) of each image."""
  return np.concatenate([(b['label'] == 13).sum((1, 2)) for b in batches])


def test_crops_have_their_class(records):
  """Of 24x48 pixels crops of 8x12 show the corner at about 1 in 30 draws."""
  stream = Stream(
    records,
    'cityscapes19',
    4,
    Augment(crop=(8, 12)),
    sampling='rare_class',
    rare=RareClassSettings(0.01, pixels=20, crop_share=0.5),
  )
  shown = cars(take(15, stream))
  plain = Stream(records, 'cityscapes19', 4, Augment(crop=(8, 12)))
  # 1 - (29 / 30)^11 = 0.31 of the crops have at least 11 of the 24 pixels.
  assert (shown > 10).mean() > 4 * (cars(take(15, plain)) > 10).mean()


def test_crops_have_two_classes(records):
  """None has 90 % of one class, unless ten draws were in vain."""
  stream = Stream(
    records,
    'cityscapes19',
    4,
    Augment(crop=(8, 12), max_class_share=0.9),
    sampling='rare_class',
    rare=RareClassSettings(0.01, pixels=20, crop_share=0.0),
  )
  shown = cars(take(15, stream))
  assert (shown > 9).mean() > 0.5
  # Image 0 is road alone: all draws are in vain, and the last one is taken.
  uniform = Stream(
    records, 'cityscapes19', 3, Augment(crop=(8, 12), max_class_share=0.9)
  )
  assert take(2, uniform)[0]['label'].shape == (3, 8, 12)


def test_margins_move_with_the_pixels(tmp_path):
  """Where the image's own first column is, is its right margin when flipped."""
  image = np.zeros((*SIZE, 3), np.uint8)
  image[:, :, 0] = np.arange(SIZE[1])
  image[:, :, 1] = np.arange(SIZE[0])[:, None]
  made = [prepared.example(str(i), image, corner_label(26)) for i in range(2)]
  prepared.write(tmp_path, 'gta5', SIZE, {'train': made})
  records = input_lib.open_records('gta5', SIZE, 'train', tmp_path)
  stream = Stream(
    records,
    None,
    2,
    Augment(flip=True, crop=(16, 32)),
    margins=(3, 8, 5, 1),
  )
  flips = set()
  for batch in take(8, stream):
    assert batch.keys() == {'image', 'valid'}
    columns, rows = batch['image'][..., 0], batch['image'][..., 1]
    expected = (columns >= 5) & (columns < 47) & (rows >= 3) & (rows < 16)
    np.testing.assert_array_equal(batch['valid'], expected)
    flips |= set(np.sign(np.diff(columns[:, 0].astype(int))).ravel())
  assert flips == {-1, 1}


def test_settings_reach_the_stream(records, tmp_path):
  config = config_lib.load(
    f'{tiny.ROOT}/configs/daformer.py:gta5',
    [
      f'data_dir={tmp_path}',
      'source.size=24x48',
      'source.crop=8x12',
      'source.rare_class.pixels=9',
    ],
  )
  stream = from_config.open_streams(config, ['source'])['source']
  assert stream.sampling == 'rare_class' and stream.rare.pixels == 9
  assert stream.augment.max_class_share == 0.75
  assert stream.rare.crop_share == 0.5 and stream.rare.temperature == 0.01


def test_no_image_has_enough(records):
  stream = Stream(
    records,
    'cityscapes19',
    2,
    sampling='rare_class',
    rare=RareClassSettings(pixels=10_000),
  )
  with pytest.raises(UserError, match=r'more than 10000 .*rare_class\.pixels'):
    take(1, stream)


@pytest.mark.parametrize('margins', [(20, 4, 0, 0), (0, 0, 40, 8)])
def test_margins_leave_something(records, margins):
  stream = Stream(records, 'cityscapes19', 1, margins=margins)
  with pytest.raises(UserError, match=r'config\.source\.margins=.* 24x48'):
    take(1, stream)
