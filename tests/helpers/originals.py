"""The recorded steps of the PyTorch originals, and what they started from.

reference/*.json hold what the published training loops of AdaptSegNet, ADVENT
and FADA computed in torch 2.13 on CPU, on small random images, with a ResNet
of few blocks. Initial weights and images follow from a seed, so that nothing
of them is stored here.
"""

import json
import pathlib
import zlib

import jax
import numpy as np

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


def read(name: str) -> dict:
  """Return a recorded run."""
  return json.loads((REFERENCE / f'{name}.json').read_text())


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
  return [f'{key}={value}' for key, value in changed.items()]


def spec(trace: dict) -> str:
  """Return the config of a recorded method."""
  return str(ROOT / f'configs/{_CONFIGS[trace["method"]]}.py')


def config(trace: dict):
  """The experiment of a recorded run."""
  return config_lib.load(spec(trace), settings(trace))


def rng(text: str) -> np.random.Generator:
  """The generator that a text names."""
  return np.random.Generator(np.random.PCG64(zlib.crc32(text.encode())))


def tensor(seed: int, key: str, shape: tuple[int, ...]) -> np.ndarray:
  """The initial value of the tensor of that name in a torch checkpoint."""
  if key.endswith(('running_mean', 'num_batches_tracked')):
    return np.zeros(shape, np.float32)
  if key.endswith('running_var'):
    return np.ones(shape, np.float32)
  n = rng(f'{seed}/{key}').standard_normal(shape)
  if len(shape) == 1:
    n = 1 + 0.1 * n if key.endswith('weight') else 0.05 * n
  else:
    n = n * np.sqrt(1 / np.prod(shape[1:]))
  return n.astype(np.float32)


def images(seed: int, count: int, size) -> tuple[np.ndarray, np.ndarray]:
  """u8[count, h, w, 3] and labels u8[count, h, w]."""
  g = np.random.Generator(np.random.PCG64(seed))
  h, w = size
  coarse = (h // 8 + 1, w // 8 + 1)
  found = []
  for _ in range(count):
    a = g.integers(0, 256, (*coarse, 3))
    a = np.kron(a, np.ones((8, 8, 1)))[:h, :w]
    a = np.clip(a + g.integers(-20, 21, (h, w, 3)), 0, 255).astype(np.uint8)
    y = g.integers(0, 20, coarse)
    y = np.kron(np.where(y == 19, 255, y), np.ones((8, 8)))[:h, :w]
    found.append((a, y.astype(np.uint8)))
  return tuple(np.stack(part) for part in zip(*found, strict=True))


def batches(trace: dict) -> list[dict]:
  """The training batches of a recorded run."""
  steps, size = trace['steps'], trace['batch']
  count = steps * size
  x, y = images(trace['seed'] + 1, count, trace['source_hw'])
  t, _ = images(trace['seed'] + 2, count, trace['target_hw'])
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
      drawn = tensor(trace['seed'], f'{module}/{key}', shape)
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


def change(key: str, before: np.ndarray, after: np.ndarray) -> list[float]:
  """The same of our own tensors, in torch's layout."""
  moved = np.asarray(after, np.float64) - np.asarray(before, np.float64)
  probe = rng(f'probe/{key}').standard_normal(moved.size)
  return [moved.sum(), np.linalg.norm(moved), moved.ravel() @ probe]
