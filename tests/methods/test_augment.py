"""Strong augmentation against worked numbers and Python's colorsys."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda.methods import _augment as augment

COLOR = jnp.array([0.2, 0.4, 0.6])


def test_hue_saturation_value():
  """Hue in radians; the saturation divides by the maximum and 1e-6."""
  found = augment._to_hsv(COLOR)
  np.testing.assert_allclose(found, (3.66519143, 0.66666556, 0.6), rtol=1e-6)


def test_the_four_operations_one_after_another():
  """Numbers of kornia 0.5.8 for one colour."""
  steps = (
    (lambda x: augment.brightness(x, 1.1), (0.3, 0.5, 0.7)),
    (lambda x: augment.contrast(x, 1.1), (0.33, 0.55, 0.77)),
    (lambda x: augment.saturation(x, 0.9), (0.37400051, 0.57200026, 0.77)),
    (lambda x: augment.hue(x, 0.1), (0.41360093, 0.37400103, 0.77)),
  )
  x = COLOR
  for operation, expected in steps:
    x = operation(x)
    np.testing.assert_allclose(x, expected, atol=2e-7)


def test_saturation_and_hue_of_many_colors():
  """Also greys, black, white and colours with equal channels."""
  colors = np.random.default_rng(0).random((200, 3), np.float32)
  colors[:20] = np.round(colors[:20])
  colors[20:40] = colors[20:40, :1]
  for turns in (-0.2, 0.0, 0.13):
    found = augment.hue(jnp.array(colors), turns)
    expected = []
    for color in np.float64(colors):
      h, s, v = colorsys.rgb_to_hsv(*color)
      expected.append(colorsys.hsv_to_rgb((h + turns) % 1, s, v))
    np.testing.assert_allclose(found, expected, atol=2e-6)
  found = augment.saturation(jnp.array(colors), 1.2)
  expected = []
  for color in np.float64(colors):
    h, s, v = colorsys.rgb_to_hsv(*color)
    expected.append(colorsys.hsv_to_rgb(h, min(1.2 * s, 1), v))
  np.testing.assert_allclose(found, expected, atol=3e-6)


def test_clipping():
  bright = augment.brightness(jnp.array([0.05, 0.5, 0.95]), 1.2)
  np.testing.assert_allclose(bright, (0.25, 0.7, 1.0), rtol=1e-6)
  dark = augment.brightness(jnp.array([0.05, 0.5, 0.95]), 0.8)
  np.testing.assert_allclose(dark, (0.0, 0.3, 0.75), rtol=1e-6, atol=1e-7)
  assert augment.contrast(jnp.array([0.9]), 1.2)[0] == 1.0


@pytest.mark.slow
def test_jitter_draws_for_each_image():
  """Equal keys give equal images, others another order and other factors."""
  image = np.full((6, 2, 3, 3), (50, 100, 150), np.uint8)
  keys = jax.random.split(jax.random.key(0), 6)
  keys = keys.at[5].set(keys[0])
  found = np.asarray(augment.color_jitter(image, keys, 0.2))
  assert found.dtype == np.float32 and found.shape == image.shape
  assert found.min() >= 0 and found.max() <= 255
  np.testing.assert_array_equal(found[5], found[0])
  firsts = {tuple(each[0, 0]) for each in found}
  assert len(firsts) == 5
  # All pixels of an image are changed alike.
  assert np.ptp(found, axis=(1, 2)).max() < 1e-4


@pytest.mark.slow
def test_jitter_of_no_strength():
  image = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), np.uint8)
  keys = jax.random.split(jax.random.key(0), 2)
  found = augment.color_jitter(image, keys, 0.0)
  np.testing.assert_allclose(found, image, atol=2e-3)


@pytest.mark.slow
def test_the_range_of_the_factors():
  """A grey has no hue and no saturation: contrast and brightness alone."""
  image = np.full((400, 1, 1, 3), 127.5, np.float32)
  keys = jax.random.split(jax.random.key(1), 400)
  grey = np.asarray(augment.color_jitter(image, keys, 0.2))[:, 0, 0] / 255
  assert np.ptp(grey, axis=1).max() < 1e-6
  # 0.5 c + b or (0.5 + b) c: from 0.5 * 0.8 - 0.2 to (0.5 + 0.2) 1.2.
  assert 0.2 <= grey.min() < 0.26 and 0.76 < grey.max() <= 0.84
  assert abs(grey.mean() - 0.5) < 0.02
