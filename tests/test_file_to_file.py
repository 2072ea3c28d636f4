"""From a PyTorch file through training to a PyTorch file, by command lines.

The recorded steps of test_originals.py, by the way a user goes: raw trees of
GTA5 and Cityscapes, prepared at their own size; an original's checkpoints as
the start; K steps of jaxuda.main; the weights exported again.
"""

import jax
import numpy as np
import originals
import pytest
import raw_trees
import safetensors.numpy
import test_originals
import tiny_runs

from data import prepare
from jaxuda import main, runs, state, weights, workdir

# Cityscapes' label ids of the 19 classes (cityscapesScripts).
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


@pytest.fixture(scope='module', autouse=True)
def quick():
  with tiny_runs.quick_compiles():
    yield


def write_trees(trace, root):
  """The recorded run's images as raw datasets; a target image to score."""
  count = trace['steps'] * trace['batch']
  ids = np.zeros(256, np.uint8)  # 255 becomes 0, which no class has
  ids[: len(IDS)] = IDS
  for name, seed, size in (
    ('gta5', trace['seed'] + 1, trace['source_hw']),
    ('cityscapes', trace['seed'] + 2, trace['target_hw']),
  ):
    pairs = zip(*originals.images(seed, count, size), strict=True)
    for i, (x, y) in enumerate(pairs):
      raw_trees.write_example(name, root / name, 'train', i, x, ids[y])
    if name == 'cityscapes':
      raw_trees.write_example(name, root / name, 'val', 0, x, ids[y])


def initial(trace, config):
  """{'seg', 'd_aux', 'd_main': {key: tensor}} that the recorded run began with."""
  nets, txs = runs.build(config)
  abstract = jax.eval_shape(
    lambda rng: state.init(rng, nets, txs), jax.random.key(0)
  )
  found = {}
  parts = [
    ('segmenter', abstract.segmenter.params),
    ('segmenter', abstract.segmenter.batch_stats),
    *abstract.discriminators.params.items(),
  ]
  for part, tree in parts:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      module, key = originals.name(trace, part, path)
      shape = originals.to_torch(np.zeros(leaf.shape, np.bool_)).shape
      drawn = originals.tensor(trace['seed'], f'{module}/{key}', shape)
      whole = key.endswith('num_batches_tracked')
      found.setdefault(module, {})[key] = drawn.astype('i8' if whole else 'f4')
  return found


def test_the_recorded_steps_from_file_to_file(tmp_path, capsys):
  trace = originals.read('advent_multi')
  write_trees(trace, tmp_path / 'raw')
  where = f'--data_dir={tmp_path / "prepared"}'
  for name, stream in (('gta5', 'source'), ('cityscapes', 'target')):
    h, w = trace[f'{stream}_hw']
    raw = f'--raw={tmp_path / "raw" / name}'
    size = f'--size={h}x{w}'
    assert prepare.main([name, raw, where, size, '--allow_missing']) == 0

  start = initial(trace, originals.config(trace))
  for module, tensors in start.items():
    safetensors.numpy.save_file(tensors, tmp_path / f'{module}.safetensors')
  files = {m: tmp_path / f'{m}.safetensors' for m in start}
  run = tmp_path / 'run'
  settings = [
    *originals.settings(trace),
    f'data_dir={tmp_path / "prepared"}',
    f'init={files["seg"]}',
    f'discriminator.init=main={files["d_main"]},aux={files["d_aux"]}',
    f'eval.size={tuple(trace["target_hw"])}',
    'panels=1',
    'eval_every=3',
  ]
  arguments = [f'--config.{setting}' for setting in settings]
  page = f'--config={originals.page(trace)}'
  assert main.main(['main', page, f'--workdir={run}', *arguments]) == 0
  assert 'deeplab: 118 tensors' in capsys.readouterr().out

  rows = workdir.read_metrics(run / 'metrics.csv')
  losses = [row for row in rows if 'loss_seg_main' in row]
  test_originals.check_losses(trace, losses)

  output = tmp_path / 'after.safetensors'
  written = weights.export(run, output)
  assert [p.name for p in written] == [
    'after.safetensors',
    'after_D_aux.safetensors',
    'after_D_main.safetensors',
  ]
  after = [safetensors.numpy.load_file(p) for p in written]
  found = {}
  for module, tensors in zip(('seg', 'd_aux', 'd_main'), after, strict=True):
    assert tensors.keys() == start[module].keys()
    for key, tensor in tensors.items():
      assert tensor.dtype == start[module][key].dtype
      found[module, key] = originals.change(key, start[module][key], tensor)
  test_originals.check_changes(trace, found)
