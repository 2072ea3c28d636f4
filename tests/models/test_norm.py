"""Norm modes, by NumPy in float64."""

import by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda.models import norm

RNG = np.random.default_rng(0)


def normal(*shape):
  return RNG.standard_normal(shape).astype(np.float32)


def apply_norm(mode, x, statistics, train=True):
  params = {'scale': jnp.array([1.5, 0.5]), 'bias': jnp.array([0.2, -1.0])}
  y, updated = norm.Norm(mode, train).apply(
    {'params': params, 'batch_stats': statistics}, x, mutable=['batch_stats']
  )
  return y, updated['batch_stats']


STATISTICS = {'mean': np.float32([0.5, -1.0]), 'var': np.float32([0.04, 2.0])}
AFFINE = {'scale': np.array([1.5, 0.5]), 'bias': np.array([0.2, -1.0])}


def moved(x, statistics):
  """torch's update: momentum 0.1, the unbiased variance."""
  x = np.float64(x).reshape(-1, x.shape[-1])
  return {
    'mean': 0.9 * statistics['mean'] + 0.1 * x.mean(0),
    'var': 0.9 * statistics['var'] + 0.1 * x.var(0, ddof=1),
  }


@pytest.mark.parametrize('mode', norm.MODES)
def test_norm_while_training(mode):
  x = 3 * normal(2, 3, 4, 2) + 1
  y, updated = apply_norm(mode, x, STATISTICS)
  flat = np.float64(x).reshape(-1, 2)
  new = moved(x, STATISTICS)
  used = {
    'batch': {'mean': flat.mean(0), 'var': flat.var(0)},
    'running': STATISTICS,
    'running_updated': new,
    'fixed': STATISTICS,
    'frozen': STATISTICS,
  }[mode]
  epsilon = 0 if mode == 'frozen' else 1e-5
  np.testing.assert_allclose(
    y, by_hand.norm(x, AFFINE, used, epsilon), rtol=1e-5, atol=1e-5
  )
  expected = STATISTICS if mode in ('fixed', 'frozen') else new
  for name in ('mean', 'var'):
    np.testing.assert_allclose(updated[name], expected[name], rtol=1e-6)


@pytest.mark.parametrize('mode', norm.MODES)
def test_norm_evaluates_by_the_running_statistics(mode):
  x = normal(1, 3, 4, 2)
  y, updated = apply_norm(mode, x, STATISTICS, train=False)
  epsilon = 0 if mode == 'frozen' else 1e-5
  expected = by_hand.norm(x, AFFINE, STATISTICS, epsilon)
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
  jax.tree.map(np.testing.assert_array_equal, updated, STATISTICS)


def test_norm_fixtures():
  x = jnp.array([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1)
  zero = {'mean': jnp.zeros(1), 'var': jnp.ones(1)}
  _, updated = norm.Norm('batch', True).apply(
    {'params': {'scale': jnp.ones(1), 'bias': jnp.zeros(1)}}
    | {'batch_stats': zero},
    x,
    mutable=['batch_stats'],
  )
  assert updated['batch_stats']['var'][0] == pytest.approx(0.9 + 0.1 * 7 / 3)
  x = jnp.full((1, 1, 1, 2), 2.0)
  y, _ = apply_norm('frozen', x, STATISTICS)
  assert y[0, 0, 0, 0] == pytest.approx(11.45, rel=1e-6)
  y, _ = apply_norm('running', x, STATISTICS)
  assert y[0, 0, 0, 0] == pytest.approx(11.448594, rel=1e-7)


@pytest.mark.parametrize('mode', ['running', 'running_updated', 'frozen'])
def test_no_gradient_through_statistics(mode):
  """dy/dx is then diagonal: scale / sqrt(var), a constant."""
  x = normal(1, 3, 4, 2)
  cotangent = normal(1, 3, 4, 2)
  _, pull = jax.vjp(lambda x: apply_norm(mode, x, STATISTICS)[0], x)
  used = moved(x, STATISTICS) if mode == 'running_updated' else STATISTICS
  epsilon = 0 if mode == 'frozen' else 1e-5
  slope = AFFINE['scale'] / np.sqrt(used['var'] + epsilon)
  np.testing.assert_allclose(pull(cotangent)[0], cotangent * slope, rtol=1e-5)


def test_batch_mode_differentiates_its_statistics():
  """A normalised batch does not change when its input is shifted or scaled."""
  x = normal(1, 3, 4, 2)
  cotangent = normal(1, 3, 4, 2)
  _, pull = jax.vjp(lambda x: apply_norm('batch', x, STATISTICS)[0], x)
  gradient = np.array(pull(cotangent)[0])
  centred = x - x.mean((0, 1, 2))
  for direction in (np.ones_like(x), centred):
    along = (gradient * direction).sum((0, 1, 2))
    np.testing.assert_allclose(along, 0, atol=1e-3)
  assert np.abs(gradient).max() > 0.1


@pytest.mark.parametrize('which', ['x', 'scale', 'bias'])
def test_gradient_of_batch_mode(which):
  """The written-out gradient, beside central differences in float64."""
  x, cotangent = 3 * normal(2, 3, 4, 2) + 1, normal(2, 3, 4, 2)
  values = {'x': x} | AFFINE

  def loss(value):
    v = {k: np.float64(a) for k, a in (values | {which: value}).items()}
    flat = v['x'].reshape(-1, 2)
    used = {'mean': flat.mean(0), 'var': flat.var(0)}
    affine = {'scale': v['scale'], 'bias': v['bias']}
    return (by_hand.norm(v['x'], affine, used, 1e-5) * cotangent).sum()

  def ours(value):
    v = {k: jnp.float32(a) for k, a in values.items()} | {which: value}
    y, _, _ = norm.normalise_by_batch(v['x'], v['scale'], v['bias'], 1e-5)
    return (y * cotangent).sum()

  value = np.float64(values[which])
  expected = np.zeros_like(value)
  for at in np.ndindex(value.shape):
    step = np.zeros_like(value)
    step[at] = 1e-5
    expected[at] = (loss(value + step) - loss(value - step)) / 2e-5
  found = jax.grad(ours)(jnp.float32(value))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
