"""Three convolutions that stand for a ResNet, and compile in half the time.

What tests of methods need of one: two maps of its channels, batch norm with
statistics, and its groups of parameters.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from jaxuda.models import layers
from jaxuda.models import norm as norm_lib
from jaxuda.models.encoders import resnet
from jaxuda.utils.settings import Setting

SETTINGS = {'width': Setting(4, 'as of the ResNet', least=1)}
INPUT_NORM = resnet.INPUT_NORM
DECODER = resnet.DECODER
SIDES_DIVIDE_BY = 1
DEEPEST = resnet.DEEPEST
RNGS = ()
LAYOUTS = ()

channels = resnet.channels
param_group = resnet.param_group
times_listed = resnet.times_listed


class Encoder(nn.Module):
  """Strides of 8 in all, as the ResNet has."""

  width: int
  bn_mode: str
  dtype: jnp.dtype
  remat: bool = False

  @nn.compact
  def __call__(self, x, train):
    init = layers.KERNEL_INITS['caffe']
    conv = partial(layers.Conv, kernel_init=init, dtype=self.dtype)
    norm = partial(norm_lib.Norm, self.bn_mode, train, self.dtype)
    x = nn.relu(norm(name='bn1')(conv(self.width, 4, 4, 0, name='conv1')(x)))
    maps = {}
    for name, stride, planes in (('layer3', 2, 16), ('layer4', 1, 32)):
      x = _Layer(planes * self.width, stride, conv, norm, name=name)(x)
      maps[name] = x
    return maps


class _Layer(nn.Module):
  """A convolution with batch norm, at the ResNet's level of names."""

  planes: int
  stride: int
  conv: partial
  norm: partial

  @nn.compact
  def __call__(self, x):
    y = self.conv(self.planes, 3, self.stride, 1, name='conv1')(x)
    return nn.relu(self.norm(name='bn1')(y))


def build(config):
  model = config.model
  return Encoder(
    model.encoder.width, config.bn_mode, jnp.dtype(model.dtype), model.remat
  )
