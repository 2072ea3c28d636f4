"""Views against numbers of ADVENT's code and against NumPy slicing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda.methods import _views as views

H, W, C = np.mgrid[:2, :2, :3]
LOGITS = (((7 * C + 3 * H + 5 * W) % 11) / 4 - 1)[None].astype(np.float32)


def softmax(z):
  e = np.exp(np.float64(z))
  return e / e.sum(-1, keepdims=True)


def test_normalised_self_information():
  """prob_2_entropy of ADVENT, in its own numbers and in its own formula."""
  maps = views.self_information(LOGITS, 'normalised')
  expected = [0.22396412, 0.25557110, 0.31122664]
  np.testing.assert_allclose(maps[0, 0, 0], expected, rtol=1e-6)
  assert maps.sum() == pytest.approx(3.15694952)
  p = softmax(LOGITS)
  expected = -p * np.log2(p + 1e-30) / np.log2(3)
  np.testing.assert_allclose(maps, expected, rtol=1e-6)


def test_natural_self_information():
  maps = views.self_information(LOGITS, 'natural')
  assert maps.sum() == pytest.approx(3.46826386)
  p = softmax(LOGITS)
  np.testing.assert_allclose(maps, -p * np.log(p), rtol=1e-6)


def test_a_uniform_map_has_entropy_one():
  logits = jnp.full((2, 3, 4, 19), 7.0)
  maps = views.self_information(logits, 'normalised')
  np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-6)
  maps = views.self_information(logits, 'natural')
  np.testing.assert_allclose(maps.sum(-1), np.log(19), rtol=1e-6)


@pytest.mark.parametrize('form', views.SELF_INFORMATION)
def test_sure_predictions(form):
  """Probabilities of exactly 0 and 1 have information 0, finite slopes."""
  logits = jnp.array([[[[1e4, -1e4, 0.0]]], [[[200.0, 0.0, -200.0]]]])
  maps = views.self_information(logits, form)
  np.testing.assert_allclose(maps, np.zeros_like(maps), atol=1e-30)
  gradient = jax.grad(
    lambda z: jnp.sum(views.self_information(z, form) * jnp.arange(3.0))
  )(logits)
  assert np.isfinite(gradient).all()


def test_corners_are_uniform_over_all_positions():
  """3 x 5 positions, the last row and column among them."""
  count = 30_000
  keys = jax.random.split(jax.random.key(0), count)
  corners = np.array(views.patch_corners(keys, 1, (6, 8), patch=4))[:, 0]
  assert corners.shape == (count, 2)
  drawn = np.zeros((3, 5))
  np.add.at(drawn, tuple(corners.T), 1)
  expected = count / 15
  chi_square = ((drawn - expected) ** 2 / expected).sum()
  assert chi_square < 36.1  # the 0.999 quantile with 14 degrees of freedom


def test_corners_differ_by_image_patch_and_key():
  keys = jax.random.split(jax.random.key(0), 4)
  first = views.patch_corners(keys, 2, (200, 300), 32)
  assert first.shape == (4, 2, 2)
  assert len(set(map(tuple, np.array(first).reshape(8, 2).tolist()))) == 8
  again = views.patch_corners(keys[1:3], 2, (200, 300), 32)
  np.testing.assert_array_equal(first[1:3], again)  # each by its own key
  others = jax.random.split(jax.random.key(1), 4)
  other = views.patch_corners(others, 2, (200, 300), 32)
  assert (np.array(first) != np.array(other)).any()


def test_a_patch_as_large_as_the_map():
  corners = views.patch_corners(
    jax.random.split(jax.random.key(0), 5), 1, (4, 7), 4
  )
  assert (corners[..., 0] == 0).all()


def test_crop_is_slicing():
  maps = np.random.default_rng(0).random((3, 6, 9, 2)).astype(np.float32)
  # Two an image; [2, 5] touches the edge.
  corners = np.array([[[0, 0], [2, 5]], [[2, 5], [1, 4]], [[1, 3], [0, 2]]])
  patches = views.crop(jnp.array(maps), jnp.array(corners), 4)
  expected = [
    maps[i, y : y + 4, x : x + 4]
    for i, of_image in enumerate(corners)
    for y, x in of_image
  ]
  np.testing.assert_array_equal(patches, np.stack(expected))


def test_gradient_of_crop_falls_inside_the_patch():
  corners = jnp.array([[[1, 2]]])
  gradient = jax.grad(lambda m: views.crop(m, corners, 3).sum())(
    jnp.zeros((1, 5, 6, 1))
  )
  expected = np.zeros((5, 6))
  expected[1:4, 2:5] = 1
  np.testing.assert_array_equal(gradient[0, ..., 0], expected)
