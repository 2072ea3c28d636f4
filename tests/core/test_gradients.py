"""Gradients of every loss against finite differences, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda import losses
from jaxuda.losses import SOURCE, TARGET
from jaxuda.methods import _views as views
from jaxuda.models import layers

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
B, H, W, C = 2, 3, 4, 5
LABEL = RNG.integers(0, C, (B, H, W)).astype(np.uint8)
LABEL[0, 0] = 255
EMPTY = np.full((B, H, W), 255, np.uint8)
EMPTY[1, 1] = 2  # an image with a label, and one without
LOGITS = RNG.standard_normal((B, H, W, C)) * 2
KNOWLEDGE = RNG.uniform(0, 0.5, (B, H, W, C))
PROBE = RNG.standard_normal((B, H, W, C))
CORNERS = np.array([[[0, 1]], [[1, 2]]])

# name -> (a scalar function of logits, where it is differentiated)
FUNCTIONS = {
  'cross entropy': (lambda x: losses.cross_entropy(x, LABEL), LOGITS),
  'cross entropy by image': (
    lambda x: losses.cross_entropy(x, EMPTY, 'image'),
    LOGITS,
  ),
  'entropy': (losses.entropy, LOGITS),
  'vanilla, source': (lambda x: losses.domain_loss(x, SOURCE), LOGITS),
  'vanilla, target': (lambda x: losses.domain_loss(x, TARGET), LOGITS),
  'lsgan, source': (
    lambda x: losses.domain_loss(x, SOURCE, 'lsgan'),
    LOGITS,
  ),
  'lsgan, target': (
    lambda x: losses.domain_loss(x, TARGET, 'lsgan'),
    LOGITS,
  ),
  'class and domain, source': (
    lambda x: losses.class_domain_loss(x, KNOWLEDGE, SOURCE),
    np.concatenate([LOGITS, -LOGITS[::-1]], -1),
  ),
  'class and domain, target': (
    lambda x: losses.class_domain_loss(x, KNOWLEDGE, TARGET),
    np.concatenate([LOGITS, -LOGITS[::-1]], -1),
  ),
  'self-information, normalised': (
    lambda x: (views.self_information(x, 'normalised') * PROBE).sum(),
    LOGITS,
  ),
  'self-information, natural': (
    lambda x: (views.self_information(x, 'natural') * PROBE).sum(),
    LOGITS,
  ),
  'patches': (
    lambda x: (views.crop(x, CORNERS, 2) ** 3).sum(),
    LOGITS,
  ),
}


@pytest.mark.parametrize('name', FUNCTIONS)
def test_gradients(name):
  function, at = FUNCTIONS[name]
  with jax.enable_x64(True):
    at = jnp.asarray(at, jnp.float64)
    gradient = np.asarray(jax.grad(function)(at))
    assert gradient.dtype == np.float64
    value, step = jax.jit(function), 1e-6
    expected = np.empty(at.shape)
    for index in np.ndindex(at.shape):
      up, down = (float(value(at.at[index].add(s))) for s in (step, -step))
      expected[index] = (up - down) / (2 * step)
  np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


def test_an_image_without_labels_adds_nothing():
  """Neither NaN nor a gradient; the other image counts one half of two."""
  grad = jax.grad(lambda x: losses.cross_entropy(x, EMPTY, 'image'))(LOGITS)
  assert np.isfinite(grad).all() and not np.any(grad[0]) and np.any(grad[1])
  alone = losses.cross_entropy(LOGITS[1:], EMPTY[1:])
  both = losses.cross_entropy(LOGITS, EMPTY, 'image')
  assert both == pytest.approx(float(alone) / 2, rel=1e-6)
  nothing = np.full((B, H, W), 255, np.uint8)
  for mean in ('batch', 'image'):
    assert losses.cross_entropy(LOGITS, nothing, mean) == 0


def test_resizing_is_its_own_transpose():
  """<resize(x), y> = <x, gradient>: the gradient of a linear map."""
  small, large = RNG.standard_normal((1, 3, 4, 2)), (7, 9)
  y = RNG.standard_normal((1, *large, 2))
  for corners in (True, False):

    def product(x, corners=corners):
      return (layers.resize(x, large, corners) * y).sum()

    gradient = jax.grad(product)(jnp.asarray(small, jnp.float32))
    assert (gradient * small).sum() == pytest.approx(
      float(product(small)), rel=1e-5
    )
