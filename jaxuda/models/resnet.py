"""The caffe-style ResNet of AdaptSegNet and ADVENT, at output stride 8.

(ADVENT, advent/model/deeplabv2.py.) The stride sits in the first 1x1
convolution, max-pooling rounds up, layer3 is dilated by 2 and layer4 by 4.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import layers

Array = jax.Array

RESNET101 = (3, 4, 23, 3)


class Bottleneck(nn.Module):
  """1x1 (carries the stride), 3x3 (carries the dilation), 1x1, and a sum.

  Attributes:
    planes: channels inside; the output has four times as many.
    stride, dilation: of the block.
    downsample: whether the shortcut has its own 1x1 convolution.
    conv, norm: partial layers that hold dtype, initializer and norm mode.
  """

  planes: int
  stride: int
  dilation: int
  downsample: bool
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """f[B, H, W, C] -> f[B, H / stride, W / stride, 4 planes]."""
    y = self.conv(self.planes, 1, self.stride, name='conv1')(x)
    y = nn.relu(self.norm(name='bn1')(y))
    d = self.dilation
    y = self.conv(self.planes, 3, padding=d, dilation=d, name='conv2')(y)
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
    norm: a norm mode of layers.Norm.
    kernel_init: initializer of the convolutions.
    dtype: compute type.
    remat: whether activations inside a block are recomputed in the backward
      pass instead of kept.
  """

  blocks: Sequence[int]
  width: int
  norm: str
  kernel_init: layers.Initializer
  dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool) -> tuple[Array, Array]:
    """f[B, H, W, 3] -> layer3 f[B, h, w, 16 width], layer4 f[.., 32 width].

    h = ceil(H / 8) or one more: 720 -> 91 (the ceil-mode pooling).
    """
    conv = partial(layers.Conv, kernel_init=self.kernel_init, dtype=self.dtype)
    norm = partial(layers.Norm, self.norm, train, self.dtype)
    x = conv(self.width, 7, 2, 3, name='conv1')(x)
    x = nn.relu(norm(name='bn1')(x))
    x = layers.max_pool(x, ceil=True)
    block = nn.remat(Bottleneck) if self.remat else Bottleneck
    outputs = []
    for layer, count in enumerate(self.blocks):
      planes = self.width * 2**layer
      dilation = (1, 1, 2, 4)[layer]
      for i in range(count):
        x = block(
          planes,
          2 if (layer, i) == (1, 0) else 1,
          dilation,
          downsample=i == 0,
          conv=conv,
          norm=norm,
          name=f'layer{layer + 1}_{i}',
        )(x)
      outputs.append(x)
    return outputs[2], outputs[3]
