"""ResNet-18, the classifier (He et al., CVPR 2016; torchvision's layout)."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import layers, norm

Array = jax.Array

BLOCKS = 2  # in each of the four layers


class BasicBlock(nn.Module):
  """3x3, 3x3, and a sum.

  Attributes:
    planes: channels of the output.
    stride: of the first convolution and of the shortcut.
    train: whether batch norm takes the batch's statistics.
  """

  planes: int
  stride: int
  train: bool

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """f[B, H, W, C] -> f[B, H / stride, W / stride, planes]."""
    conv = partial(layers.Conv, kernel_init=nn.initializers.he_normal())
    bn = partial(norm.Norm, 'batch', self.train)
    y = conv(self.planes, 3, self.stride, 1, name='conv1')(x)
    y = nn.relu(bn(name='bn1')(y))
    y = conv(self.planes, 3, 1, 1, name='conv2')(y)
    y = bn(name='bn2')(y)
    if y.shape != x.shape:
      x = conv(self.planes, 1, self.stride, name='downsample_0')(x)
      x = bn(name='downsample_1')(x)
    return nn.relu(x + y)


class ResNet18(nn.Module):
  """Stem, four layers of two blocks, mean over all places, and a classifier.

  Attributes:
    outputs: logits.
    width: channels of the stem and of layer1, 64 as published; each further
      layer doubles them.
  """

  outputs: int
  width: int = 64

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """f32[B, H, W, C] -> f32[B, outputs]."""
    he = nn.initializers.he_normal()
    x = layers.Conv(self.width, 7, 2, 3, kernel_init=he, name='conv1')(x)
    x = nn.relu(norm.Norm('batch', train, name='bn1')(x))
    x = layers.max_pool(x, ceil=False)
    for layer in range(4):
      for i in range(BLOCKS):
        x = BasicBlock(
          self.width * 2**layer,
          2 if layer > 0 and i == 0 else 1,
          train,
          name=f'layer{layer + 1}_{i}',
        )(x)
    init = layers.torch_uniform(x.shape[-1])
    dense = nn.Dense(self.outputs, kernel_init=init, bias_init=init, name='fc')
    return dense(jnp.mean(x, (1, 2)))
