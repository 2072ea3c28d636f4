"""The recorded steps of the PyTorch originals, and what they started from.

reference/*.json hold what the published training loops of AdaptSegNet, ADVENT
and FADA computed in torch 2.13 on CPU, on small random images, with a ResNet
of few blocks. Initial weights and images follow from a seed, so that nothing
of them is stored here.
"""

import json
import pathlib

import jax
import numpy as np
import seeded

from jaxuda import config as config_lib
from jaxuda.models.torch_names import plain_name
from jaxuda.state import NetworkState
from jaxuda.torch_weights import layouts

ROOT = pathlib.Path(__file__).parents[2]
REFERENCE = ROOT / 'tests/reference'
NAMES = sorted(p.stem for p in REFERENCE.glob('*.json'))
# Those that are repeated by test_file_to_file.py; the others by a bare step.
BY_COMMAND_LINES = ('advent_multi', 'fada_batch2')
_CONFIGS = {
  'AdaptSegNet': 'adaptsegnet',
  'AdvEnt': 'advent',
  'MinEnt': 'minent',
  'FADA': 'fada',
}


def read(name: str, folder: pathlib.Path = REFERENCE) -> dict:
  """Return a recorded run."""
  return json.loads((folder / f'{name}.json').read_text())


def settings(trace: dict) -> list[str]:
  """Return KEY=VALUE of a config that repeats the recorded run."""
  changed = {
    'steps': trace['steps'],
    'log_every': 1,
    'model.encoder.blocks': tuple(trace['blocks']),
    'source.batch_size': trace['batch'],
    'target.batch_size': trace['batch'],
    'source.size': tuple(trace['source_hw']),
    'target.size': tuple(trace['target_hw']),
    'source.shuffle': False,
    'target.shuffle': False,
  }
  if trace['method'] == 'FADA':
    # One process computed the mean over both images, without jitter, of images
    # in their own order.
    changed |= {
      'ce_reduction': 'batch',
      'source.jitter': (0.0, 0.0, 0.0, 0.0),
      'source.sampling': 'uniform',
    }
  else:
    changed['model.decoder.multi_level'] = trace['multi_level']
    changed['optim.duplicate_params'] = trace['sgd'] == 'authors'
  if trace.get('gan') == 'LS':
    changed['gan'] = 'lsgan'
  # What the steps in float64 have beyond the originals'.
  if 'width' in trace:
    changed['model.encoder.width'] = trace['width']
    changed['discriminator.width'] = trace['discriminator_width']
  if 'weight' in trace:
    changed['loss_weights.adv_main'] = trace['weight']
    if trace['method'] != 'FADA':
      changed['loss_weights.adv_aux'] = trace['weight'] / 5
  return [f'{key}={value}' for key, value in changed.items()]


def spec(trace: dict) -> str:
  """Return the config of a recorded method."""
  return str(ROOT / f'configs/{_CONFIGS[trace["method"]]}.py')


def config(trace: dict):
  """The experiment of a recorded run."""
  return config_lib.load(spec(trace), settings(trace))


def batches(trace: dict) -> list[dict]:
  """The training batches of a recorded run."""
  steps, size = trace['steps'], trace['batch']
  count = steps * size
  x, y = seeded.images(trace['seed'] + 1, count, trace['source_hw'])
  t, _ = seeded.images(trace['seed'] + 2, count, trace['target_hw'])
  return [
    {
      'source': {'image': x[i : i + size], 'label': y[i : i + size]},
      'target': {'image': t[i : i + size]},
    }
    for i in range(0, count, size)
  ]


def to_torch(array: np.ndarray) -> np.ndarray:
  """HWIO to OIHW; what is no kernel stays."""
  return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def from_torch(array: np.ndarray) -> np.ndarray:
  """The inverse of to_torch."""
  return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def name(trace: dict, part: str, path) -> tuple[str, str]:
  """(module, key) of a leaf of ours in a recorded run.

  Args:
    trace: of `read`.
    part: 'segmenter', or the name of a discriminator.
    path: of the leaf in params or batch_stats.
  """
  names = tuple(key.key for key in path)
  if part == 'segmenter':
    layout = 'fada' if trace['method'] == 'FADA' else 'deeplab'
    key = layouts.BY_NAME[layout].rename(plain_name(names))
    if layout == 'deeplab':
      return 'seg', key
    module, _, key = key.partition('.')
    return module, key
  key = plain_name(names)
  if trace['method'] == 'FADA':
    return 'model_D', key
  if trace['method'] == 'AdaptSegNet':
    return {'aux': 'D1', 'main': 'D2'}[part], key
  rename = layouts.BY_NAME['advent_discriminator'].rename
  return f'd_{part}', rename(key)


def start(trace: dict, state):
  """A fresh TrainState with the initial weights of a recorded run."""

  def fill(part, tree):
    def leaf(path, value):
      module, key = name(trace, part, path)
      shape = to_torch(np.zeros(value.shape, np.int8)).shape
      drawn = seeded.tensor(trace['seed'], f'{module}/{key}', shape)
      return from_torch(drawn).astype(value.dtype)

    return jax.tree_util.tree_map_with_path(leaf, tree)

  seg, d = state.segmenter, state.discriminators
  return state.replace(
    segmenter=seg.replace(
      params=fill('segmenter', seg.params),
      batch_stats=fill('segmenter', seg.batch_stats),
    ),
    discriminators=NetworkState(
      {part: fill(part, tree) for part, tree in d.params.items()},
      {},
      d.opt_state,
    ),
  )


def recorded_names(trace: dict) -> set[tuple[str, str]]:
  """(module, key) of every tensor whose change is recorded."""
  modules = {'seg': trace.get('segmenter', {})}
  modules |= trace.get('discriminators', {})
  for name in ('feature_extractor', 'classifier', 'model_D'):
    modules[name] = trace.get(name, {})
  return {(module, key) for module, keys in modules.items() for key in keys}


def recorded_change(trace: dict, module: str, key: str) -> list[float]:
  """[sum, L2 norm, dot with the probe] of a tensor's change."""
  if module == 'seg':
    return trace['segmenter'][key]
  if module in ('d_aux', 'd_main', 'D1', 'D2'):
    return trace['discriminators'][module][key]
  return trace[module][key]
