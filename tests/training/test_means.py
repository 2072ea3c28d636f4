"""Means of what steps measure, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda.training.means import Means


def measured(loss, accuracy, skipped=0):
  return {
    'loss/a': jnp.float32(loss),
    'd/accuracy': jnp.float32(accuracy),
    'skipped': jnp.int32(skipped),
    'skipped_in_row': jnp.int32(skipped),
  }


def test_means_since_they_were_taken():
  means = Means()
  losses, accuracies = [3.0, 0.5, 1.5, 8.0], [0.1, 0.2, 0.4, 0.8]
  for loss, accuracy in zip(losses[:3], accuracies[:3], strict=True):
    means.add(measured(loss, accuracy))
  assert means.take() == pytest.approx(
    {
      'loss/a': np.mean(losses[:3]),
      'd/accuracy': np.mean(accuracies[:3]),
      'skipped': 0,
      'skipped_in_row': 0,
    }
  )
  means.add(measured(losses[3], accuracies[3], 7))
  assert means.skipped_in_row == 7
  found = means.take()
  assert found['loss/a'] == 8.0 and found['skipped'] == 7


def test_what_is_not_finite_is_left_out():
  means = Means()
  for loss in (1.0, float('nan'), float('inf'), 2.0):
    means.add(measured(loss, float('nan')))
  found = means.take()
  assert found['loss/a'] == 1.5 and np.isnan(found['d/accuracy'])


def test_they_go_on_from_a_checkpoint_to_the_bit():
  rng = np.random.default_rng(0)
  values = rng.standard_normal((9, 2)).astype(np.float32)
  straight, stopped = Means(), Means()
  for i, pair in enumerate(values):
    straight.add(measured(*pair))
    stopped.add(measured(*pair))
    if i == 4:
      stored = stopped.to_json()
      stopped = Means()
      stopped.restore(stored, jax.devices()[0])
  assert straight.take() == stopped.take()
  assert Means().to_json() == {}
  nothing = Means()
  nothing.restore({}, jax.devices()[0])
  nothing.add(measured(1.0, 1.0))
  assert nothing.take()['loss/a'] == 1.0
