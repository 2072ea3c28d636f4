"""Discriminators of less than a map: of pixels, and of patches' modes."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import layers, torch_names
from jaxuda.models.torch_names import Layout

Array = jax.Array


class DroppingDiscriminator(nn.Module):
  """CyCADA's: each pixel by itself, while half of the channels are dropped.

  Three 1x1 convolutions with bias; after the first two whole channels are
  dropped, then ReLU (cycada_release, cycada/models/adda_net.py).

  Attributes:
    channels: of its input.
    widths: channels of the first two layers: (512, 256) of scores, (1024, 512)
      of features.
    dtype: compute type.
  """

  LAYOUT = 'dropping_discriminator'

  channels: int
  widths: Sequence[int]
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, channels] to f32[B, H, W], the logits of 'target'.

    Nothing is dropped without a random stream of the name 'dropout'.
    """
    keeps = not self.has_rng('dropout')
    for i, width in enumerate(self.widths):
      conv = layers.Conv(
        width, 1, use_bias=True, dtype=self.dtype, name=f'pixel{i + 1}'
      )
      drop = nn.Dropout(0.5, broadcast_dims=(1, 2), deterministic=keeps)
      x = nn.relu(drop(conv(x)))
    x = layers.Conv(2, 1, use_bias=True, dtype=self.dtype, name='pixel3')(x)
    x = x.astype(jnp.float32)  # of target and source
    return x[..., 0] - x[..., 1]


class ModeClassifier(nn.Module):
  """AdaptPatch's H: which mode of label patches is each place of a map?

  The map is averaged over each patch; then two 1x1 convolutions with bias,
  LeakyReLU 0.2 between them. Their sizes are our reading, as no code was
  published.

  Attributes:
    channels: of its input.
    modes: K.
    patch: (height, width) in pixels; what does not fill one is left out.
    width: channels of the hidden layer.
  """

  LAYOUT = 'mode_classifier'

  channels: int
  modes: int
  patch: tuple[int, int]
  width: int = 256

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, channels] to f32[B, U, V, modes], one place a patch."""
    x = layers.box_means(x, self.patch)
    x = layers.Conv(self.width, 1, use_bias=True, name='patch')(x)
    x = nn.leaky_relu(x, 0.2)
    x = layers.Conv(self.modes, 1, use_bias=True, name='modes')(x)
    return x.astype(jnp.float32)


class VectorDiscriminator(nn.Module):
  """AdaptPatch's D of single vectors: n -> 256 -> 512 -> 1, LeakyReLU 0.2.

  Attributes:
    channels: n.
    widths: of the hidden layers.
  """

  LAYOUT = 'vector_discriminator'

  channels: int
  widths: Sequence[int] = (256, 512)

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[..., n] to f32[...], the logits of 'target'."""
    for i, width in enumerate((*self.widths, 1)):
      init = layers.torch_uniform(x.shape[-1])
      dense = nn.Dense(
        width, kernel_init=init, bias_init=init, name=f'vector{i + 1}'
      )
      x = dense(x if i == 0 else nn.leaky_relu(x, 0.2))
    return x[..., 0]


LAYOUTS = (
  Layout(
    'dropping_discriminator',
    "CyCADA's discriminator of pixels; names of ours",
    (r'pixel1\.weight', r'pixel3\.weight'),
    torch_names.unchanged,
  ),
  Layout(
    'mode_classifier',
    "AdaptPatch's classifier of modes; names of ours",
    (r'patch\.weight', r'modes\.weight'),
    torch_names.unchanged,
  ),
  Layout(
    'vector_discriminator',
    "AdaptPatch's discriminator of vectors; names of ours",
    (r'vector1\.weight', r'vector3\.weight'),
    torch_names.unchanged,
  ),
)
