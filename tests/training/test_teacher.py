"""A teacher is part of the state: it is saved, restored and replicated."""

import jax
import pytest
import tiny
from small_state import run_child

from jaxuda import experiment
from jaxuda.models import segmenter
from jaxuda.training import start

pytestmark = pytest.mark.slow

CONFIG = 'configs/mean_teacher.py:streets,encoder=resnet'


def test_a_teacher_starts_as_its_segmenter():
  """Also from a file without heads, which are drawn; in arrays of its own."""
  config = tiny.config('mean_teacher', 'model.decoder.multi_level=False')
  nets, _ = experiment.build(config)
  drawn = tiny.drawn(segmenter.abstract(nets.segmenter))
  params = {'encoder': drawn['params']['encoder']}
  run = experiment.from_variables(config, params, drawn['batch_stats'], 0)
  assert not start.is_complete(run)
  state = start.init_state(config, run, {})
  teacher, student = state.ema, state.segmenter
  assert tiny.same(student.params['encoder'], params['encoder'])
  assert jax.tree.leaves(student.params['decoder'])
  for part in ('params', 'batch_stats'):
    ours, theirs = getattr(teacher, part), getattr(student, part)
    assert tiny.same(ours, theirs)
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    for one, other in pairs:
      assert one.unsafe_buffer_pointer() != other.unsafe_buffer_pointer()


def test_each_device_has_the_whole_teacher(tmp_path):
  """As it is born, after a step, and as a checkpoint gives it back."""
  child = run_child(
    """
    import sys
    import jax, numpy as np, tiny
    from jaxuda import checkpoints, experiment
    from jaxuda.training import start
    from jaxuda.utils import sharding

    config = tiny.config('mean_teacher', 'model.decoder.multi_level=False')
    nets, txs = experiment.build(config)
    mesh = sharding.make_mesh()
    assert mesh.size == 8
    whole = sharding.replicated(mesh)

    def check(teacher):
      leaves = jax.tree.leaves(teacher)
      assert len(leaves) > 10
      for leaf in leaves:
        assert leaf.sharding == whole
        first, *others = [np.array(s.data) for s in leaf.addressable_shards]
        assert len(others) == 7
        assert all(np.array_equal(first, other) for other in others)
      return jax.device_get(teacher)

    state = start.init_state(config, None, {}, whole)
    born = check(state.ema)
    assert tiny.same(born.params, state.segmenter.params)
    step = jax.jit(
      experiment.train_step(config), donate_argnums=0, out_shardings=whole,
      compiler_options=tiny.QUICK)
    batch = sharding.shard_batch(mesh)(tiny.batch(config, size=8))
    state, _ = step(state, batch, experiment.constants(config, None))
    after = check(state.ema)
    assert not tiny.same(born.params, after.params)
    with checkpoints.Checkpoints(sys.argv[1]) as manager:
      manager.save(1, state)
      abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), state)
      restored, _ = manager.restore(1, abstract)
    assert tiny.same(check(restored.ema), after)
    """,
    tmp_path,
    **tiny.virtual_devices(8),
  )
  _, complaints = child.communicate(timeout=300)
  assert child.returncode == 0, complaints
