"""Domain discriminators: is what they are shown source or target?"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda import labels
from jaxuda.models import layers, segmenter, torch_names
from jaxuda.models.torch_names import Layout

Array = jax.Array


class FCDiscriminator(nn.Module):
  """Five 4x4 stride-2 convolutions with bias, LeakyReLU 0.2 between them.

  (AdaptSegNet, model/discriminator.py; ADVENT, advent/model/discriminator.py.)

  Attributes:
    channels: of its input.
    width: channels of the first layer, 64 as published.
    outputs: 1 for a logit (ADVENT), 2 for the d: x -> R^2 of ACCV 2020, whose
      softmax depends on the difference of its outputs alone.
    dtype: compute type.
  """

  LAYOUT = 'discriminator'

  channels: int
  width: int = 64
  outputs: int = 1
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, C] to f32[B, H // 32, W // 32], the logits of 'target'."""
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

  LAYOUT = 'fada_discriminator'

  channels: int
  num_classes: int
  width: int = 256
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, h, w, channels] to f32[B, h, w, 2 K], source classes first."""

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
  pixel discriminator (the reference of ICIP 2020), but without its batch norm:
  AdaptSegNet's discriminators, beside which it trains, have none.

  Attributes:
    channels: of a pixel.
    width: channels of the first layer, 64 in pix2pix; the second has twice.
  """

  LAYOUT = 'one_pixel_discriminator'

  channels: int
  width: int = 64

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, channels] to f32[B, H, W], the logits of 'target'."""
    for i in range(2):
      conv = layers.Conv(
        self.width * 2**i, 1, use_bias=True, name=f'conv{i + 1}'
      )
      x = nn.leaky_relu(conv(x), 0.2)
    x = layers.Conv(1, 1, use_bias=True, name='classifier')(x)
    return x[..., 0].astype(jnp.float32)


class ClassDiscriminator(nn.Module):
  """D_s of ASS: which class, and of which domain, is a feature vector?

  n -> 1024, LeakyReLU 0.2, 1024 -> 2 K; of one vector (Eq. 6) or, as 1x1
  convolutions, of every pixel (Eq. 8).

  Attributes:
    channels: n, of the features.
    num_classes: K.
    width: of the hidden layer.
  """

  LAYOUT = 'class_discriminator'

  channels: int
  num_classes: int
  width: int = 1024

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[..., n] to f32[..., 2 K], the source's classes first."""
    init = layers.torch_uniform(x.shape[-1])
    x = nn.Dense(self.width, kernel_init=init, bias_init=init, name='fc1')(
      x.astype(jnp.float32)
    )
    x = nn.leaky_relu(x, 0.2)
    init = layers.torch_uniform(self.width)
    classes = 2 * self.num_classes
    return nn.Dense(classes, kernel_init=init, bias_init=init, name='fc2')(x)


def for_class_maps(config) -> FCDiscriminator:
  """Return a discriminator for maps of an experiment's classes."""
  d = config.discriminator
  classes = len(labels.space(config.classes).classes)
  return FCDiscriminator(
    classes, d.width, d.outputs, jnp.dtype(config.model.dtype)
  )


def one_per_head(config) -> dict[str, FCDiscriminator]:
  """Return a discriminator for the class maps of each head, by its name."""
  return {head: for_class_maps(config) for head in segmenter.heads(config)}


LAYOUTS = (
  Layout(
    'discriminator',
    "AdaptSegNet's, BDL's and CLAN's discriminators",
    (r'conv4\.weight', r'classifier\.weight'),
    torch_names.unchanged,
    suffixes={'aux': '_D1', 'main': '_D2'},
  ),
  Layout(
    'advent_discriminator',
    "ADVENT's discriminators",
    (r'0\.weight', r'8\.weight'),
    torch_names.in_order(
      (r'conv1\.', '0.'),
      (r'conv2\.', '2.'),
      (r'conv3\.', '4.'),
      (r'conv4\.', '6.'),
      (r'classifier\.', '8.'),
    ),
  ),
  Layout(
    'fada_discriminator',
    "FADA's discriminator alone",
    (r'D\.0\.weight', r'cls1\.weight', r'cls2\.weight'),
    torch_names.unchanged,
  ),
  Layout(
    'one_pixel_discriminator',
    'the pixel discriminator of the joint alignment (ICIP 2020); names of ours',
    (r'conv2\.weight', r'classifier\.weight'),
    torch_names.unchanged,
  ),
  Layout(
    'class_discriminator',
    'the semantic discriminator of ASS; names of ours',
    (r'fc1\.weight', r'fc2\.weight'),
    torch_names.unchanged,
  ),
)
