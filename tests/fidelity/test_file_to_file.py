"""From a PyTorch file through training to a PyTorch file, by command lines.

The recorded steps of test_originals.py, by the way a user goes: raw trees of
GTA5 and Cityscapes, prepared at their own size; an original's checkpoints as
the start; K steps of jaxuda.main; the weights exported again.
"""

import jax
import numpy as np
import originals
import pytest
import raw_files
import recorded
import safetensors.numpy
import seeded
import tiny_runs

from data import prepare
from jaxuda import experiment, state, weights
from jaxuda.utils import metrics_csv

pytestmark = pytest.mark.slow

# Cityscapes' label ids of the 19 classes (cityscapesScripts).
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def write_trees(trace, root):
  """Write the recorded run's images as raw datasets, one of them to score."""
  count = trace['steps'] * trace['batch']
  ids = np.zeros(256, np.uint8)  # 255 becomes 0, which no class has
  ids[: len(IDS)] = IDS
  for name, seed, size in (
    ('gta5', trace['seed'] + 1, trace['source_hw']),
    ('cityscapes', trace['seed'] + 2, trace['target_hw']),
  ):
    pairs = zip(*seeded.images(seed, count, size), strict=True)
    for i, (x, y) in enumerate(pairs):
      raw_files.write_example(name, root / name, 'train', i, x, ids[y])
    if name == 'cityscapes':
      raw_files.write_example(name, root / name, 'val', 0, x, ids[y])


def initial(trace, config):
  """Return {module: {key: tensor}} that the recorded run started from."""
  abstract = state.abstract(*experiment.build(config))
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
      drawn = seeded.tensor(trace['seed'], f'{module}/{key}', shape)
      whole = key.endswith('num_batches_tracked')
      found.setdefault(module, {})[key] = drawn.astype('i8' if whole else 'f4')
  return found


def prepare_trees(trace, root):
  """Prepare the raw trees at their own sizes."""
  write_trees(trace, root / 'raw')
  for name, stream in (('gta5', 'source'), ('cityscapes', 'target')):
    h, w = trace[f'{stream}_hw']
    arguments = [
      'prepare',
      name,
      f'--raw={root / "raw" / name}',
      f'--data_dir={root / "prepared"}',
      f'--size={h}x{w}',
      '--allow_missing',
    ]
    assert prepare.main(arguments) == 0


def save_files(trace, start, root):
  """Write an original's checkpoints; return the settings to start from them."""
  if trace['method'] == 'FADA':
    path = root / 'fada.safetensors'
    whole = {f'{m}.{k}': v for m, t in start.items() for k, v in t.items()}
    safetensors.numpy.save_file(whole, path)
    return [f'init={path}', f'discriminator.init={path}']
  for module, tensors in start.items():
    safetensors.numpy.save_file(tensors, root / f'{module}.safetensors')
  at = {module: root / f'{module}.safetensors' for module in start}
  return [
    f'init={at["seg"]}',
    f'discriminator.init=main={at["d_main"]},aux={at["d_aux"]}',
  ]


def read_files(trace, root):
  """Return what export wrote: {module: {key: tensor}}."""
  files = {p.stem: safetensors.numpy.load_file(p) for p in root.glob('after*')}
  if trace['method'] == 'FADA':
    [whole] = files.values()
    modules = {}
    for name, tensor in whole.items():
      module, _, key = name.partition('.')
      modules.setdefault(module, {})[key] = tensor
    return modules
  assert files.keys() == {'after', 'after_D_aux', 'after_D_main'}
  return {
    'seg': files['after'],
    'd_aux': files['after_D_aux'],
    'd_main': files['after_D_main'],
  }


@pytest.mark.parametrize('name', originals.BY_COMMAND_LINES)
def test_the_recorded_steps_from_file_to_file(name, tmp_path, capsys):
  trace = originals.read(name)
  prepare_trees(trace, tmp_path)
  start = initial(trace, originals.config(trace))
  run = tmp_path / 'run'
  settings = [
    *originals.settings(trace),
    *save_files(trace, start, tmp_path),
    f'data_dir={tmp_path / "prepared"}',
    f'eval.size={"x".join(map(str, trace["target_hw"]))}',
    'num_log_images=0',
    'num_unlabelled_images=0',
    'eval_every=3',
  ]
  arguments = [f'--config.{setting}' for setting in settings]
  config = f'--config={originals.spec(trace)}'
  assert tiny_runs.run(config, f'--workdir={run}', *arguments) == 0
  said = capsys.readouterr().out
  names = {'advent_multi': 'deeplab: 118', 'fada_batch2': 'fada: 93'}
  assert f'{names[name]} tensors' in said

  rows = metrics_csv.read_metrics(run / 'metrics.csv')
  losses = [row for row in rows if 'loss/seg_source_main' in row]
  recorded.check_losses(trace, losses)
  found = experiment.load(run)
  recorded.check_logits(trace, found.net, found)

  command = ['weights', 'export', f'--workdir={run}']
  assert weights.main([*command, f'--output={tmp_path}/after.safetensors']) == 0
  changes = {}
  for module, tensors in read_files(trace, tmp_path).items():
    assert tensors.keys() == start[module].keys()
    for key, tensor in tensors.items():
      assert tensor.dtype == start[module][key].dtype
      changes[module, key] = seeded.change(key, start[module][key], tensor)
  recorded.check_changes(trace, changes)
