"""Steps that are not finite change nothing but the counters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from tiny import same

pytestmark = pytest.mark.slow

INFINITE = float('inf')
# What discriminators call their first layers.
FIRST = ('conv1', 'D_0', 'fc1', 'pixel1', 'patch', 'vector1')


def with_nan(network, name):
  """The network with a NaN in the parameter that has this name."""

  def poison(path, leaf):
    at = '.'.join(key.key for key in path)
    return leaf.at[(0,) * leaf.ndim].set(np.nan) if at == name else leaf

  params = jax.tree_util.tree_map_with_path(poison, network.params)
  assert not same(params, network.params)
  return network.replace(params=params)


def skips(page, start, **changed):
  """Runs a step and asserts that only the counters moved."""
  batch = tiny.batch(tiny.config(page))
  after, measured = tiny.stepper(page)(
    start, batch, tiny.weights(page, **changed)
  )
  assert same(after.segmenter, start.segmenter)
  assert same(after.discriminators, start.discriminators)
  assert start.ema is None or same(after.ema, start.ema)
  assert after.step == start.step + 1
  assert after.skipped == measured['skipped'] == start.skipped + 1
  assert measured['skipped_in_row'] == start.skipped_in_row + 1
  return after


def test_what_is_not_finite_is_skipped(method_config):
  start = tiny.first_state(method_config)
  for term in tiny.terms(method_config):
    skips(method_config, start, **{term: INFINITE})
  name = 'encoder.conv1.kernel'
  skips(method_config, start.replace(segmenter=with_nan(start.segmenter, name)))
  for d, layers in start.discriminators.params.items():
    first = next(n for n in FIRST if n in layers)
    bad = with_nan(start.discriminators, f'{d}.{first}.kernel')
    skips(method_config, start.replace(discriminators=bad))


def test_a_finite_step_ends_a_row(method_config):
  run, batch = (
    tiny.stepper(method_config),
    tiny.batch(tiny.config(method_config)),
  )
  current = tiny.first_state(method_config)
  for _ in range(2):
    current = skips(method_config, current, seg_source_main=INFINITE)
  current, measured = run(current, batch, tiny.weights(method_config))
  assert (current.skipped, current.skipped_in_row) == (2, 0)
  assert measured['skipped'] == 2 and measured['skipped_in_row'] == 0
  # The first update, at step 2, as if there had been no steps before.
  start = tiny.first_state(method_config)
  fresh, _ = run(
    start.replace(step=current.step - 1), batch, tiny.weights(method_config)
  )
  assert same(current.segmenter, fresh.segmenter)
  assert same(current.discriminators, fresh.discriminators)


def test_nothing_moves_after_too_many_skipped_steps():
  page = 'source_only'
  limit = tiny.config(page).max_nonfinite_steps
  run, batch = tiny.stepper(page), tiny.batch(tiny.config(page))
  start = tiny.first_state(page)
  current = start.replace(skipped_in_row=jnp.int32(limit - 1))
  current = skips(page, current, seg_source_main=INFINITE)
  assert current.skipped_in_row == limit
  for changed in ({}, {'seg_source_main': INFINITE}):
    current, measured = run(current, batch, tiny.weights(page, **changed))
    assert (current.skipped, current.skipped_in_row) == (1, limit)
    assert measured['skipped_in_row'] == limit
    assert same(current.segmenter, start.segmenter)
