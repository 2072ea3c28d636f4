"""Inputs of one form are differentiated in a loop, to the same numbers."""

import jax
import numpy as np
import pytest
import tiny

from jaxuda import gradients


@pytest.mark.slow
@pytest.mark.parametrize('name', ['dacs'])
def test_a_loop_changes_nothing(name, monkeypatch):
  spec, more = name, ('ce_reduction=pixels',)
  current = tiny.first_state(spec, *more)
  config = tiny.config(spec, *more)
  batch = tiny.batch(config)
  weights = dict(config.loss_weights)
  looped = tiny.stepper(spec, *more)(current, batch, weights)
  monkeypatch.setattr(gradients, '_have_one_form', lambda ctx: False)
  tiny.stepper.cache_clear()
  unrolled = tiny.stepper(spec, *more)(current, batch, weights)
  tiny.stepper.cache_clear()
  for one, other in zip(
    jax.tree.leaves(looped), jax.tree.leaves(unrolled), strict=True
  ):
    one, other = np.float64(one), np.float64(other)
    size = np.abs(other).max(initial=1e-3)
    np.testing.assert_allclose(one, other, atol=2e-5 * size)
