"""Run by test_sharding.py where jax has four virtual CPU devices.

  python tests/four_devices.py OUTPUT.npz

Trains and counts on one device and on four and writes what came out.
"""

import functools
import sys

import jax
import numpy as np
import optax
import tiny

from jaxuda import evaluate, methods, runs, sharding, step

PAGE, STEPS = 'advent_patch', 3
# Adam's steps are nearly signs: they amplify the rounding of the smallest
# gradients. So the discriminators hardly move here, and what Adam averages of
# their gradients is compared in their place.
SLOW = 'discriminator.lr=1e-5'


def mesh_of(devices: int) -> jax.sharding.Mesh:
  if devices == jax.device_count():
    return sharding.make_mesh()
  return jax.make_mesh(
    (devices,),
    ('data',),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=jax.devices()[:devices],
  )


def run(mesh: jax.sharding.Mesh) -> dict[str, np.ndarray]:
  """Three steps on 4 + 4 images and a confusion matrix: {path: value}."""
  config = tiny.config(PAGE, SLOW)
  nets, txs = runs.build(config)
  put, whole = sharding.putter(mesh), sharding.replicated(mesh)
  train = jax.jit(
    functools.partial(
      step.train_step,
      nets=nets,
      txs=txs,
      method=methods.load(config.method),
      config=config,
    ),
    donate_argnums=0,
    out_shardings=whole,
    compiler_options=tiny.QUICK,
  )
  found = {}
  # Copied on the host, or the first mesh would donate the second one's state.
  current = jax.device_put(jax.device_get(tiny.first_state(PAGE)), whole)
  for i in range(STEPS):
    batch = put(tiny.batch(config, seed=i, size=4))
    shards = batch['source']['image'].addressable_shards
    assert [len(s.data) for s in shards] == [4 // mesh.size] * mesh.size
    current, measured = jax.block_until_ready(train(current, batch))
    found |= {f'measured.{i}.{k}': np.array(v) for k, v in measured.items()}
  assert train._cache_size() == 1
  trees = {
    'params': current.segmenter.params,
    'stats': current.segmenter.batch_stats,
    'moments': optax.tree.get(current.discriminators.opt_state, 'mu'),
  }
  leaves = jax.tree_util.tree_leaves_with_path(trees)
  found |= {jax.tree_util.keystr(k): np.array(v) for k, v in leaves}
  images = put(tiny.batch(config, seed=9, size=4)['source'])
  count = evaluate.make_count(nets.segmenter, config.eval, mesh)
  # Of the first state, so that no pixel is decided by a rounding.
  first = jax.device_put(jax.device_get(tiny.first_state(PAGE)), whole)
  counts = count(
    first.segmenter.params,
    first.segmenter.batch_stats,
    images['image'],
    images['label'],
  )
  return found | {'counts': np.array(counts)}


if __name__ == '__main__':
  assert jax.device_count() == 4, jax.devices()
  results = {}
  for devices in (1, 4):
    mesh = mesh_of(devices)
    assert mesh.size == devices
    results |= {f'{devices}/{k}': v for k, v in run(mesh).items()}
  np.savez(sys.argv[1], **results)
