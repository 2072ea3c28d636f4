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


def one_a_head(config) -> dict[str, FCDiscriminator]:
  """A discriminator for the class maps of each head: {head: module}."""
  d = config.discriminator
  classes = len(labels.space(config.classes).classes)
  dtype = jnp.dtype(config.model.dtype)
  return {
    head: FCDiscriminator(classes, d.width, d.outputs, dtype)
    for head in deeplab.heads(config.model)
  }
