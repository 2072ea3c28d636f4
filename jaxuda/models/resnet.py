"""ResNets at output stride 8, in the two styles of the originals.

caffe (ADVENT, advent/model/deeplabv2.py; AdaptSegNet, BDL, CLAN, CRST): the
stride sits in a block's first 1x1 convolution, max-pooling rounds up, every
block of layer3 is dilated by 2 and of layer4 by 4.

torchvision (FADA, core/models/resnet.py): the stride sits in the 3x3
convolution, max-pooling rounds down, and the first block of layer3 and of
layer4 keeps the dilation of the layer before.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import layers
from jaxuda.models import norm as norm_lib

Array = jax.Array

RESNET101 = (3, 4, 23, 3)
_DILATIONS = (1, 1, 2, 4)  # of layer1 to layer4
STYLES = ('caffe', 'torchvision')


class Bottleneck(nn.Module):
  """1x1, 3x3 (carries the dilation), 1x1, and a sum.

  Attributes:
    planes: channels inside; the output has four times as many.
    stride, dilation: of the block.
    style: one of STYLES; which convolution carries the stride.
    downsample: whether the shortcut has its own 1x1 convolution.
    conv, norm: partial layers that hold dtype, initializer and norm mode.
  """

  planes: int
  stride: int
  dilation: int
  style: str
  downsample: bool
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """f[B, H, W, C] -> f[B, H / stride, W / stride, 4 planes]."""
    first, second = (
      (self.stride, 1) if self.style == 'caffe' else (1, self.stride)
    )
    y = self.conv(self.planes, 1, first, name='conv1')(x)
    y = nn.relu(self.norm(name='bn1')(y))
    d = self.dilation
    y = self.conv(self.planes, 3, second, d, d, name='conv2')(y)
    y = nn.relu(self.norm(name='bn2')(y))
    y = self.conv(4 * self.planes, 1, name='conv3')(y)
    y = self.norm(name='bn3')(y)
    if self.downsample:
      x = self.conv(4 * self.planes, 1, self.stride, name='downsample_0')(x)
      x = self.norm(name='downsample_1')(x)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """Stem and four layers; returns the maps that the two heads read.

  Attributes:
    blocks: bottlenecks a layer, (3, 4, 23, 3) for ResNet-101.
    width: channels of the stem and planes of layer1, 64 as published; each
      further layer doubles the planes.
    style: one of STYLES.
    norm: a mode of norm.Norm.
    kernel_init: initializer of the convolutions.
    dtype: compute type.
    remat: whether activations inside a block are recomputed in the backward
      pass instead of kept.
  """

  blocks: Sequence[int]
  width: int
  style: str
  norm: str
  kernel_init: layers.Initializer
  dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool) -> tuple[Array, Array]:
    """f[B, H, W, 3] -> layer3 f[B, h, w, 16 width], layer4 f[.., 32 width].

    720 -> h = 91 in the caffe style (its pooling rounds up), else 90.
    """
    conv = partial(layers.Conv, kernel_init=self.kernel_init, dtype=self.dtype)
    norm = partial(norm_lib.Norm, self.norm, train, self.dtype)
    x = conv(self.width, 7, 2, 3, name='conv1')(x)
    x = nn.relu(norm(name='bn1')(x))
    x = layers.max_pool(x, ceil=self.style == 'caffe')
    block = nn.remat(Bottleneck) if self.remat else Bottleneck
    outputs = []
    for layer, count in enumerate(self.blocks):
      planes = self.width * 2**layer
      for i in range(count):
        kept = i == 0 and self.style == 'torchvision'
        x = block(
          planes,
          2 if (layer, i) == (1, 0) else 1,
          _DILATIONS[max(layer - kept, 0)],
          self.style,
          downsample=i == 0,
          conv=conv,
          norm=norm,
          name=f'layer{layer + 1}_{i}',
        )(x)
      outputs.append(x)
    return outputs[2], outputs[3]
