"""The mean teacher: its loss by hand, and its teacher in the training step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from contexts import K, context, normal, outputs, softmax

from jaxuda.methods import Example, mean_teacher

CONFIG = tiny.config('mean_teacher')
SIZE = (2, 6, 8)


def test_consistency_by_hand():
  student, teacher = normal(*SIZE, K), softmax(normal(*SIZE, K))
  ctx = context(CONFIG, None, {'target': outputs({'main': student})})
  object.__setattr__(
    ctx, 'inputs', {'target': Example(None, extra={'teacher': teacher})}
  )
  found = mean_teacher.consistency(ctx)
  expected = np.square(softmax(student) - teacher).mean()
  assert set(found) == {'consistency_main'}
  np.testing.assert_allclose(found['consistency_main'], expected, rtol=1e-5)


def test_what_the_networks_see():
  """The teacher sees the target as it is, the student changed colours."""
  seen = []

  def predict(image):
    seen.append(image)
    return outputs({'main': normal(*SIZE, K)})

  batch = tiny.batch(CONFIG)
  ctx = context(CONFIG, None, {}, batch)
  object.__setattr__(ctx, 'predict', predict)
  given = mean_teacher.inputs(ctx)
  np.testing.assert_array_equal(seen[0], batch['target']['image'])
  np.testing.assert_array_equal(given['source'].image, batch['source']['image'])
  np.testing.assert_array_equal(given['source'].label, batch['source']['label'])
  assert given['target'].label is None
  changed = np.abs(given['target'].image - batch['target']['image'])
  assert 5 < changed.mean() < 128
  shares = given['target'].extra['teacher'].sum(-1)
  np.testing.assert_allclose(shares, 1, rtol=1e-5)


def test_labels_of_both_streams_are_passed_on():
  """Pseudo labels, hard or soft, have a cross entropy as in other methods."""
  batch = tiny.batch(CONFIG)
  for stream in batch.values():
    size = stream['image'].shape[:-1]
    stream |= {'label': np.zeros(size, 'u1'), 'soft': np.ones((*size, K), 'u1')}
  ctx = context(CONFIG, None, {}, batch)
  object.__setattr__(
    ctx, 'predict', lambda image: outputs({'main': normal(*SIZE, K)})
  )
  for name, example in mean_teacher.inputs(ctx).items():
    assert example.label is batch[name]['label']
    assert example.soft is batch[name]['soft']


def test_what_the_teacher_keeps():
  """Tarvainen and Valpola's min(1 - 1 / (t + 1), decay), t from 1."""
  steps = (0, 1, 2, 8, 97, 98, 5000)
  found = [float(mean_teacher.METHOD.ema(CONFIG, jnp.int32(t))) for t in steps]
  expected = (0.5, 0.6666667, 0.75, 0.9, 0.9898990, 0.99, 0.99)
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def stepped():
  """Return a state, and that after a first and a second step."""
  start = tiny.first_state('mean_teacher')
  run, given = tiny.stepper('mean_teacher'), tiny.weights('mean_teacher')
  first, _ = run(start, tiny.batch(CONFIG), given)
  second, _ = run(first, tiny.batch(CONFIG, seed=1), given)
  return start, first, second


@pytest.mark.slow
def test_the_teacher_follows_the_student():
  """Half of both after the first step, a third of the student's after two."""
  start, first, second = stepped()
  for before, after, keep in ((start, first, 1 / 2), (first, second, 2 / 3)):
    expected = jax.tree.map(
      lambda old, new, keep=keep: keep * old + (1 - keep) * new,
      before.ema.params,
      after.segmenter.params,
    )
    tiny.assert_close(after.ema.params, expected, rtol=1e-5, atol=1e-7)
  assert not tiny.same(second.ema.params, second.segmenter.params)
  assert second.ema.opt_state == ()


@pytest.mark.slow
def test_the_teacher_has_statistics_of_its_own():
  """They follow the target alone, once a step; the student's follow both."""
  start, first, _ = stepped()

  def counts(network):
    found = jax.tree_util.tree_leaves_with_path(network.batch_stats)
    return {int(leaf) for path, leaf in found if 'num_batches' in path[-1].key}

  assert counts(start.ema) == {0} and counts(first.ema) == {1}
  assert counts(first.segmenter) <= {1, 2}
  assert not tiny.same(first.ema.batch_stats, first.segmenter.batch_stats)


@pytest.mark.slow
def test_a_step_that_is_not_finite_leaves_the_teacher():
  start = tiny.first_state('mean_teacher')
  kernel = ('encoder', 'conv1', 'kernel')
  params = jax.tree.map(jnp.array, start.segmenter.params)
  params[kernel[0]][kernel[1]][kernel[2]] *= jnp.nan
  broken = start.replace(segmenter=start.segmenter.replace(params=params))
  run = tiny.stepper('mean_teacher')
  after, measured = run(
    broken, tiny.batch(CONFIG), tiny.weights('mean_teacher')
  )
  assert measured['skipped'] == 1
  assert tiny.same(after.ema, start.ema)
