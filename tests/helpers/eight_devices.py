"""Run by test_sharding.py where jax has eight virtual CPU devices.

  python tests/helpers/eight_devices.py OUTPUT.npz

Trains and counts on eight of them and on one, and writes what came out; what
eight have saved is restored by the one.
"""

import functools
import pathlib
import sys
import tempfile

import jax
import numpy as np
import optax
import tiny
from jax.flatten_util import ravel_pytree

from jaxuda import checkpoints, experiment, state
from jaxuda.evaluation import counting
from jaxuda.utils import sharding

CONFIG, STEPS, BATCH = 'advent_patch', 2, 8
# Adam's steps are nearly signs: they amplify the rounding of the smallest
# gradients. So the discriminators hardly move here, and what Adam averages of
# their gradients is compared in their place.
SLOW = 'discriminator.lr=1e-5'
SETTINGS = (SLOW, 'model.decoder.multi_level=False')


def mesh_of(devices: int) -> jax.sharding.Mesh:
  if devices == jax.device_count():
    return sharding.make_mesh()
  return jax.make_mesh(
    (devices,),
    ('data',),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.devices()[:devices],
  )


@functools.cache
def first_state() -> state.TrainState:
  """As training begins."""
  nets, txs = experiment.build(tiny.config(CONFIG, *SETTINGS))
  init = functools.partial(state.init, nets=nets, txs=txs)
  return jax.jit(init, compiler_options=tiny.QUICK)(jax.random.key(0))


def run(mesh: jax.sharding.Mesh, folder) -> dict[str, np.ndarray]:
  """Steps on 8 + 8 images and a confusion matrix: {path: value}."""
  config = tiny.config(CONFIG, *SETTINGS)
  nets, _ = experiment.build(config)
  put, whole = sharding.shard_batch(mesh), sharding.replicated(mesh)
  train = jax.jit(
    experiment.train_step(config),
    donate_argnums=0,
    out_shardings=whole,
    compiler_options=tiny.QUICK,
  )
  constants = experiment.constants(config, None)
  found = {}
  # Copied on the host, or the first mesh would donate the second one's state.
  current = jax.device_put(jax.device_get(first_state()), whole)
  for i in range(STEPS):
    batch = put(tiny.batch(config, seed=i, size=BATCH))
    shards = batch['source']['image'].addressable_shards
    assert [len(s.data) for s in shards] == [BATCH // mesh.size] * mesh.size
    current, measured = jax.block_until_ready(train(current, batch, constants))
    found |= {f'measured.{i}.{k}': np.array(v) for k, v in measured.items()}
  assert train._cache_size() == 1
  check_restored(current, folder, whole)
  # They are one vector.
  _, by_name = ravel_pytree(current.discriminators.params)
  trees = {
    'params': current.segmenter.params,
    'stats': current.segmenter.batch_stats,
    'moments': by_name(optax.tree.get(current.discriminators.opt_state, 'mu')),
  }
  leaves = jax.tree_util.tree_leaves_with_path(trees)
  found |= {jax.tree_util.keystr(k): np.array(v) for k, v in leaves}
  images = put(tiny.batch(config, seed=9, size=BATCH)['source'])
  count = counting.make_count(nets.segmenter, config.eval, mesh)
  # Of the first state, so that no pixel is decided by a rounding.
  first = jax.device_put(jax.device_get(first_state()), whole)
  counts = count(
    first.segmenter.params,
    first.segmenter.batch_stats,
    images['image'],
    images['label'],
  )
  return found | {'counts': np.array(counts)}


def check_restored(current, folder, whole):
  """The first mesh's state comes back, bit for bit, on this one's devices."""
  with checkpoints.Checkpoints(folder) as manager:
    if manager.latest_step() is None:
      manager.save(STEPS, current)
      manager.wait()
      np.savez(folder / 'expected', *map(np.array, jax.tree.leaves(current)))
    abstract = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), current
    )
    restored, _ = manager.restore('latest', abstract)
  expected = np.load(folder / 'expected.npz').values()
  for leaf, value in zip(jax.tree.leaves(restored), expected, strict=True):
    assert leaf.sharding == whole
    np.testing.assert_array_equal(leaf, value)


if __name__ == '__main__':
  assert jax.device_count() == 8, jax.devices()
  results = {}
  with tempfile.TemporaryDirectory() as temporary:
    for devices in (8, 1):
      mesh = mesh_of(devices)
      assert mesh.size == devices
      found = run(mesh, pathlib.Path(temporary))
      results |= {f'{devices}/{k}': v for k, v in found.items()}
  np.savez(sys.argv[1], **results)
