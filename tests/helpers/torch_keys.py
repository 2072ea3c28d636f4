"""The keys of the originals' PyTorch files, and files with random tensors."""

import functools
import itertools

import numpy as np
import safetensors.numpy
from flax import traverse_util

from jaxuda import config as config_lib
from jaxuda import experiment as experiment_lib
from jaxuda import state
from jaxuda.models import torch_names
from jaxuda.torch_weights import matching

BLOCKS = {'narrow': (1, 2, 1, 1), 'full': (3, 4, 23, 3)}
NORM = ('weight', 'bias', 'running_mean', 'running_var')
COUNTER = 'num_batches_tracked'


def resnet(blocks, counters=True):
  """Yield the keys of torch's ResNet, in its order."""
  norm = (*NORM, COUNTER) if counters else NORM
  yield 'conv1.weight'
  yield from (f'bn1.{v}' for v in norm)
  for layer, count in enumerate(blocks, 1):
    for block in range(count):
      at = f'layer{layer}.{block}'
      for i in (1, 2, 3):
        yield f'{at}.conv{i}.weight'
        yield from (f'{at}.bn{i}.{v}' for v in norm)
      if block == 0:
        yield f'{at}.downsample.0.weight'
        yield from (f'{at}.downsample.1.{v}' for v in norm)


def aspp(name):
  """Yield the keys of a head of four branches."""
  for i, v in itertools.product(range(4), ('weight', 'bias')):
    yield f'{name}.conv2d_list.{i}.{v}'


VGG = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31)


def pairs(names):
  """Return the keys of layers with weight and bias."""
  return [f'{name}.{v}' for name in names for v in ('weight', 'bias')]


def experiment(name, *overrides, encoder='resnet'):
  """Return a config's GTA5 experiment with a narrow network."""
  small = {'model.encoder.width': '4', 'discriminator.width': '4'}
  if encoder == 'resnet':
    small['model.encoder.blocks'] = '(1,2,1,1)'
  small |= dict(override.split('=', 1) for override in overrides)
  spec = f'configs/{name}.py:gta5,encoder={encoder}'
  return config_lib.load(spec, [f'{k}={v}' for k, v in small.items()])


def shapes(config):
  """Return {plain name: torch's shape} of segmenter and each discriminator."""
  abstract = state.abstract(*experiment_lib.build(config))

  def named(*trees):
    return {
      torch_names.plain_name(path): (
        matching.to_torch(path, np.empty(leaf.shape, bool)).shape
      )
      for tree in trees
      for path, leaf in traverse_util.flatten_dict(tree).items()
    }

  seg = named(abstract.segmenter.params, abstract.segmenter.batch_stats)
  d = abstract.discriminators.params
  return seg, {name: named(tree) for name, tree in d.items()}


def draw(shapes_of_keys, seed=0):
  """Return random tensors; counters as torch has them."""
  rng = np.random.default_rng(seed)
  return {
    key: np.array(rng.integers(1e9))
    if key.endswith(COUNTER)
    else rng.standard_normal(shape).astype('f4')
    for key, shape in shapes_of_keys.items()
  }


def file_of(config, rename, path, **more):
  """Write a file with random tensors of a config's segmenter; return them."""
  seg, _ = shapes(config)
  tensors = draw({rename(k): shape for k, shape in seg.items() if rename(k)})
  tensors |= more
  safetensors.numpy.save_file(tensors, path)
  return tensors


MULTI = functools.partial(experiment, 'advent')
SINGLE = functools.partial(MULTI, 'model.decoder.multi_level=False')
FADA = functools.partial(experiment, 'fada')
VGG16 = functools.partial(experiment, 'source_only', encoder='vgg16')


def prefix(old, new):
  """Return a rename of the keys that begin with `old`."""
  return lambda key: new + key.removeprefix(old) if key.startswith(old) else key


def fada(key):
  """Return FADA's name of a plain one."""
  if key.startswith('layer6.'):
    return 'classifier.' + key.removeprefix('layer6.')
  return 'feature_extractor.backbone.' + key.removeprefix('features.')
