"""Networks of the usual form, large and tiny, and what they are made of."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxuda import config as config_lib
from jaxuda import experiment
from jaxuda.models.decoders import deeplab_v2
from jaxuda.models.encoders import resnet
from jaxuda.models.segmenter import Segmenter

KEY = jax.random.key(0)


TWO_HEADS = (('main', 'layer4'), ('aux', 'layer3'))


def build(*overrides, words='gta5'):
  """Return ADVENT's segmenter at full size: ResNet-101 with two heads."""
  spec = f'configs/advent.py:{words}'
  return experiment.segmenter(config_lib.load(spec, overrides))


def build_tiny(
  blocks=(1, 1, 1, 1),
  variant='caffe',
  input_norm='caffe',
  reads=TWO_HEADS,
  dilations=(1, 2),
  dtype=jnp.float32,
  remat=False,
):
  """Return a segmenter of the usual form, for five classes."""
  return Segmenter(
    resnet.Encoder(blocks, 4, variant, 'batch', 'caffe', dtype, remat),
    deeplab_v2.Decoder(5, reads, dilations, 2, False, dtype),
    input_norm,
    5,
    dtype=dtype,
  )


def image_of(height, width):
  return jax.ShapeDtypeStruct((1, height, width, 3), jnp.uint8)


def shapes(net, size=(64, 64)):
  init = jax.eval_shape(
    lambda x: net.init(KEY, x, train=False), image_of(*size)
  )
  return init['params'], init.get('batch_stats', {})


def outputs_of(net, size):
  """Return the shapes of the outputs of a forward pass."""
  outputs, _ = jax.eval_shape(
    lambda x: net.init_with_output(KEY, x, train=False), image_of(*size)
  )
  return outputs


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def names(tree):
  return {
    '.'.join(key.key for key in path)
    for path, _ in jax.tree_util.tree_leaves_with_path(tree)
  }


def random_variables(abstract):
  """Variables whose statistics and affines differ from their start."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    value = rng.standard_normal(leaf.shape)
    name = path[-1].key
    if name == 'kernel':
      value *= np.prod(leaf.shape[:3]) ** -0.5
    elif name in ('scale', 'var'):
      value = 0.5 + np.abs(value)
    return value.astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, abstract)
