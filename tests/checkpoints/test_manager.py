"""Checkpoints: kept, verified, restored anywhere; nothing damaged is taken."""

import shutil

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from small_state import equal, make_state, restore, run_child, save

from jaxuda import checkpoints
from jaxuda.checkpoints import reader
from jaxuda.utils.errors import UserError


@pytest.fixture
def directory(tmp_path):
  return tmp_path / 'checkpoints'


def test_restores_to_the_bit_with_notes(directory):
  save(directory, [0.5])
  state, extra = restore(directory, 1)
  assert equal(state, make_state(1))
  assert extra == {'note': 1}


def test_state_may_be_donated_while_it_is_saved(directory):
  update = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  state = {'x': jnp.arange(2_000_000.0), 'step': jnp.int32(0)}
  with checkpoints.Checkpoints(directory) as manager:
    for step in range(4):
      manager.save(step, state)
      state = update(state)
    restored, _ = manager.restore('latest', state)
    again = update(restored)
  assert not manager.failed
  np.testing.assert_array_equal(again['x'], np.arange(2e6) + 4)
  np.testing.assert_array_equal(state['x'], np.arange(2e6) + 4)


def test_a_step_is_saved_once(directory):
  save(directory, [0.5])
  with checkpoints.Checkpoints(directory) as manager:
    manager.save(1, make_state(7))
    state, _ = manager.restore(1, make_state(1))
  assert equal(state, make_state(1))
  assert not manager.failed


def test_metrics_may_come_later(directory):
  """They decide about the best, and nothing else of a checkpoint changes."""
  save(directory, [0.5, None, 0.3])
  files = [p for p in (directory / '2' / 'state').rglob('*') if p.is_file()]
  arrays = {p: p.read_bytes() for p in files}
  with checkpoints.Checkpoints(directory, keep_latest=3) as manager:
    assert manager.best_step() == 1
    for miou in (0.7, 0.1):  # only the first one counts
      manager.save(2, make_state(7), {'miou': miou})
      assert manager.metric(2) == 0.7
  assert {p: p.read_bytes() for p in arrays} == arrays
  state, extra = restore(directory, 'best')
  assert equal(state, make_state(2)) and extra == {'note': 2}


def test_metrics_that_cannot_be_added(directory, monkeypatch, caplog):
  save(directory, [None])

  def refuse(*args):
    raise OSError(28, 'No space left on device')

  with checkpoints.Checkpoints(directory) as manager:
    with monkeypatch.context() as m:
      m.setattr(reader, 'add_metrics', refuse)
      manager.save(1, make_state(1), {'miou': 0.5})
    assert 'score of step 1 was not noted' in caplog.text
    assert manager.metric(1) is None
  assert equal(restore(directory, 1)[0], make_state(1))


METRIC = st.one_of(
  st.none(),
  st.sampled_from([float('nan'), float('inf'), 0.0, 0.25, 0.5]),
  st.floats(0, 1),
)


def kept(metrics, keep_latest):
  """Return what must be on disk after saves 1, 2, ..., replayed one by one."""
  there = []
  for step in range(1, len(metrics) + 1):
    there.append(step)
    best = None
    for s in there:
      value = metrics[s - 1]
      if value is None or not 0 <= value <= 1:
        continue
      if best is None or value >= metrics[best - 1]:
        best = s
    there = [s for s in there if s == best or s > step - keep_latest]
  return there, best


@pytest.mark.slow
@hypothesis.settings(max_examples=15, deadline=None, database=None)
@hypothesis.given(st.lists(METRIC, min_size=1, max_size=6), st.integers(1, 2))
@hypothesis.example([0.5, float('nan')], 1)
@hypothesis.example([0.9, float('nan'), 0.8, 0.7], 1)
@hypothesis.example([0.9, 0.8, 0.3, 0.2, 0.1], 2)
@hypothesis.example([None, float('nan'), None], 1)
def test_keeps_latest_and_best(tmp_path_factory, metrics, keep_latest):
  directory = tmp_path_factory.mktemp('kept')
  steps, best = kept(metrics, keep_latest)
  half = len(metrics) // 2
  state = {'x': jnp.arange(3)}
  for part in (range(half), range(half, len(metrics))):  # a restart between
    with checkpoints.Checkpoints(directory, keep_latest=keep_latest) as manager:
      for i in part:
        manager.save(i + 1, state, {'miou': metrics[i]})
  assert manager.all_steps() == steps
  assert manager.latest_step() == len(metrics)
  assert manager.best_step() == best
  shutil.rmtree(directory)


def test_no_best_without_a_finite_metric(directory):
  save(directory, [float('nan'), None])
  with pytest.raises(UserError, match=r'no best .* steps 1, 2'):
    restore(directory, 'best')


def test_missing_checkpoint_names_what_is_there(directory):
  with pytest.raises(UserError, match=f'{directory} holds no checkpoint: tra'):
    restore(directory, 'latest')
  with pytest.raises(UserError, match='holds no checkpoint: train first'):
    checkpoints.restore_part(directory.parent / 'elsewhere', 'best')
  assert not (directory.parent / 'elsewhere').exists()
  save(directory, [0.5, 0.4])
  with pytest.raises(UserError, match=r'of step 7: .* steps 1, 2'):
    restore(directory, 7)


def test_other_tree_is_told_from_both_sides(directory):
  save(directory, [0.5])
  abstract = jax.eval_shape(lambda: make_state(1, width=16))
  stats = abstract.segmenter.batch_stats | {
    'extra': jax.ShapeDtypeStruct((2,), jnp.float32)
  }
  segmenter = abstract.segmenter.replace(batch_stats=stats)
  with pytest.raises(UserError) as e:
    restore(directory, 'latest', abstract.replace(segmenter=segmenter))
  assert str(directory / '1') in str(e.value)
  assert (
    '  segmenter/params/conv1/kernel: stored float32[3,3,3,8], '
    'expected float32[3,3,3,16]' in str(e.value)
  )
  assert (
    'segmenter/batch_stats/extra: stored nothing, expected float32[2]'
  ) in str(e.value)


def test_other_dtype_is_refused(directory):
  save(directory, [0.5])
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), make_state(1)
  )
  with pytest.raises(UserError, match=r'step: stored int32\[\], expected bfl'):
    restore(directory, 1, abstract)


def test_part_of_a_checkpoint(directory):
  save(directory, [0.5, 0.2])
  step, parts, extra = checkpoints.restore_part(directory, 'best')
  want = make_state(1).segmenter
  assert (step, extra) == (1, {'note': 1})
  assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(parts))
  assert equal(
    parts,
    {'segmenter': {'params': want.params, 'batch_stats': want.batch_stats}},
  )


def test_empty_and_unknown_parts(directory):
  save(directory, [0.5])
  _, parts, _ = checkpoints.restore_part(
    directory, 1, ('discriminators/batch_stats', 'step')
  )
  assert parts == {'discriminators': {'batch_stats': {}}, 'step': 1}
  with pytest.raises(UserError, match='1 holds no segmenter/parms'):
    checkpoints.restore_part(directory, 1, ('segmenter/parms',))
  with pytest.raises(UserError, match='1 holds no teacher/params'):
    checkpoints.restore_part(directory, 1, ('teacher/params',))


@pytest.mark.slow
def test_other_number_of_devices(directory):
  """1 device -> 4, replicated and split -> 1 again."""
  save(directory, [0.5])
  child = run_child(
    """
    import sys, jax
    from jaxuda import checkpoints
    assert jax.device_count() == 4
    mesh = jax.make_mesh((4,), ('data',))
    whole = jax.NamedSharding(mesh, jax.P())
    split = jax.NamedSharding(mesh, jax.P(None, None, None, 'data'))
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=split if x.ndim == 4 else whole
      ), jax.eval_shape(lambda: make_state(1)))
    with checkpoints.Checkpoints(sys.argv[1]) as manager:
      state, _ = manager.restore('latest', abstract)
      assert state.segmenter.params['conv1']['kernel'].sharding == split
      assert state.step.sharding == whole
      state = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s))(state)
      manager.save(2, state)
    assert not manager.failed
    checkpoints.restore_part(sys.argv[1], 1)
    """,
    directory,
    **tiny.virtual_devices(4),
  )
  _, err = child.communicate()
  assert child.returncode == 0, err
  state, _ = restore(directory, 'latest')
  assert equal(state, jax.tree.map(lambda x: x + 1, make_state(1)))
  assert checkpoints.restore_part(directory)[0] == 2
