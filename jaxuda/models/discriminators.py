"""Domain discriminators: from what a view shows to 'source or target?'."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda import labels
from jaxuda.models import deeplab, layers

Array = jax.Array


class FCDiscriminator(nn.Module):
  """Five 4x4 stride-2 convolutions with bias, LeakyReLU 0.2 between them.

  (AdaptSegNet, model/discriminator.py; ADVENT, advent/model/discriminator.py.)

  Attributes:
    channels: of what it looks at.
    width: channels of the first layer, 64 as published.
    outputs: 1 for a logit (ADVENT), 2 for paper 001's d: x -> R^2, whose
      softmax depends on the difference of its outputs alone.
    dtype: compute type.
  """

  channels: int
  width: int = 64
  outputs: int = 1
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """f[B, H, W, C] -> f32[B, H // 32, W // 32]: the logit of 'target'."""
    for i in range(4):
      conv = layers.Conv(
        self.width * 2**i,
        4,
        2,
        1,
        use_bias=True,
        dtype=self.dtype,
        name=f'conv{i + 1}',
      )
      x = nn.leaky_relu(conv(x), 0.2)
    x = layers.Conv(
      self.outputs, 4, 2, 1, use_bias=True, dtype=self.dtype, name='classifier'
    )(x)
    x = x.astype(jnp.float32)
    return x[..., 0] if self.outputs == 1 else x[..., 1] - x[..., 0]


class PixelDiscriminator(nn.Module):
  """FADA's: every pixel's class and domain at once, from features.

  Three 3x3 convolutions with bias, LeakyReLU 0.2 between them (FADA,
  core/models/discriminator.py; its last layer is one convolution a domain).

  Attributes:
    channels: of the features.
    num_classes: K.
    width: channels of the first layer, 256 as published; the second has half.
    dtype: compute type.
  """

  channels: int
  num_classes: int
  width: int = 256
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """f[B, h, w, channels] -> f32[B, h, w, 2 K], the source's classes first."""

    def conv(features, name):
      return layers.Conv(
        features, 3, 1, 1, use_bias=True, dtype=self.dtype, name=name
      )

    x = nn.leaky_relu(conv(self.width, 'D_0')(x), 0.2)
    x = nn.leaky_relu(conv(self.width // 2, 'D_2')(x), 0.2)
    halves = [conv(self.num_classes, name)(x) for name in ('cls1', 'cls2')]
    return jnp.concatenate(halves, -1).astype(jnp.float32)


class OnePixelDiscriminator(nn.Module):
  """Source or target, of each pixel by itself.

  Three layers of 1x1 convolutions, LeakyReLU 0.2 between them, as pix2pix's
  pixel discriminator (the reference of paper 000), but without its batch norm:
  AdaptSegNet's discriminators, beside which it trains, have none.

  Attributes:
    channels: of a pixel.
    width: channels of the first layer, 64 in pix2pix; the second has twice.
  """

  channels: int
  width: int = 64

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """f[B, H, W, channels] -> f32[B, H, W]: the logit of 'target'."""
    for i in range(2):
      conv = layers.Conv(
        self.width * 2**i, 1, use_bias=True, name=f'conv{i + 1}'
      )
      x = nn.leaky_relu(conv(x), 0.2)
    x = layers.Conv(1, 1, use_bias=True, name='classifier')(x)
    return x[..., 0].astype(jnp.float32)


class ClassDiscriminator(nn.Module):
  """Paper 004's D_s: which class, and of which domain, is a feature vector?

  n -> 1024, LeakyReLU 0.2, 1024 -> 2 K; of one vector (Eq. 6) or, as 1x1
  convolutions, of every pixel (Eq. 8).

  Attributes:
    channels: n, of the features.
    num_classes: K.
    width: of the hidden layer.
  """

  channels: int
  num_classes: int
  width: int = 1024

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """f[..., n] -> f32[..., 2 K], the source's classes first."""
    init = layers.torch_uniform(x.shape[-1])
    x = nn.Dense(self.width, kernel_init=init, bias_init=init, name='fc1')(
      x.astype(jnp.float32)
    )
    x = nn.leaky_relu(x, 0.2)
    init = layers.torch_uniform(self.width)
    classes = 2 * self.num_classes
    return nn.Dense(classes, kernel_init=init, bias_init=init, name='fc2')(x)


def for_classes(config) -> FCDiscriminator:
  """A discriminator for maps of an experiment's classes."""
  d = config.discriminator
  classes = len(labels.space(config.classes).classes)
  return FCDiscriminator(
    classes, d.width, d.outputs, jnp.dtype(config.model.dtype)
  )


def one_a_head(config) -> dict[str, FCDiscriminator]:
  """A discriminator for the class maps of each head: {head: module}."""
  heads = deeplab.heads(config.model)
  return {head: for_classes(config) for head in heads}
