"""DAFormer's head: all levels on the finest one's grid, fused into one map.

(Hoyer et al., CVPR 2022, section 3.2; mmseg/models/decode_heads/
daformer_head.py and segformer_head.py of lhoyer/DAFormer.) With the fusion
'1x1' it is SegFormer's head, whose levels are fused by one convolution, and
with few channels the light one of the presets that are made for a laptop.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import encoders, layers, torch_names
from jaxuda.models import norm as norm_lib
from jaxuda.models.decoders import _heads
from jaxuda.models.encoders import mit
from jaxuda.models.torch_names import Layout
from jaxuda.utils.settings import Setting

Array = jax.Array
heads = _heads.heads
param_group = _heads.group_beside_norms

SETTINGS = {
  'width': Setting(256, 'channels of each level and of the fused map', least=1),
  'fusion': Setting(
    'aspp', "how levels are fused; 1x1 in SegFormer's head", ('aspp', '1x1')
  ),
  'dilations': Setting((1, 6, 12, 18), "of the ASPP's branches", least=1),
  'dropout': Setting(
    0.1, 'share of the fused channels that are dropped', least=0.0, most=0.9
  ),
  'multi_level': Setting(False, 'whether a second head reads the level before'),
  'shared_features': Setting(
    False, 'both heads read the fused map, the prediction is their sum (CLAN)'
  ),
}
RNGS = ('dropout',)
ATTENTION = {'fusion': '1x1', 'width': 256}
_NAMES = {'main': 'conv_seg', 'aux': 'aux_seg'}  # of the classifiers


class Fusion(nn.Module):
  """From the concatenated levels to one map.

  Attributes:
    width: channels of the result.
    dilations: of the separable ASPP; () for one 1x1 convolution.
    norm: a partial layer that holds the norm's mode and type.
    dtype: compute type.
  """

  width: int
  dilations: Sequence[int]
  norm: partial
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, h, w, c] to f[B, h, w, width]."""
    if not self.dilations:
      return self._conv(x, 1, 'conv', 'bn')
    maps = [self._branch(x, i, d) for i, d in enumerate(self.dilations)]
    x = jnp.concatenate(maps, -1)
    return self._conv(x, 3, 'bottleneck_conv', 'bottleneck_bn')

  def _branch(self, x, index, dilation):
    name = f'aspp_modules_{index}'
    if dilation == 1:
      return self._conv(x, 1, f'{name}_conv', f'{name}_bn')
    x = layers.Conv(
      x.shape[-1],
      3,
      padding=dilation,
      dilation=dilation,
      depthwise=True,
      kernel_init=layers.kaiming(9 * x.shape[-1]),
      dtype=self.dtype,
      name=f'{name}_depthwise_conv',
    )(x)
    x = nn.relu(self.norm(name=f'{name}_depthwise_bn')(x))
    return self._conv(x, 1, f'{name}_pointwise_conv', f'{name}_pointwise_bn')

  def _conv(self, x, kernel, name, norm_name):
    x = layers.Conv(
      self.width,
      kernel,
      padding=kernel // 2,
      kernel_init=layers.kaiming(kernel * kernel * self.width),
      dtype=self.dtype,
      name=name,
    )(x)
    return nn.relu(self.norm(name=norm_name)(x))


class Decoder(nn.Module):
  """One head, or two.

  Attributes:
    num_classes: channels of the logits.
    levels: the names of the encoder's maps, from the finest.
    width, dilations, dropout: see SETTINGS; no dilations for the fusion '1x1'.
    heads: names of the logits; 'aux' reads the deepest level but one.
    summed: whether both read the fused map, and the prediction is their sum.
    bn_mode: a mode of norm.Norm.
    dtype: compute type; logits are float32.
  """

  num_classes: int
  levels: tuple[str, ...]
  width: int
  dilations: Sequence[int]
  dropout: float
  heads: tuple[str, ...]
  summed: bool
  bn_mode: str
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self, features: dict[str, Array], train: bool
  ) -> tuple[dict[str, Array], Array]:
    """Map {level: f[B, h, w, c]} to logits and the fused map.

    Returns:
      {head: f32[B, h, w, num_classes]}, and f[B, h, w, width] of the finest
      level's size.
    """
    size = features[self.levels[0]].shape[1:3]
    maps = []
    for i, level in enumerate(self.levels):
      init = layers.torch_uniform(features[level].shape[-1])
      x = nn.Dense(
        self.width,
        dtype=self.dtype,
        kernel_init=init,
        bias_init=init,
        name=f'embed_layers_{i}',
      )(features[level])
      if x.shape[1:3] != size:
        x = layers.resize(x, size, align_corners=False).astype(self.dtype)
      maps.append(x)
    norm = partial(norm_lib.Norm, self.bn_mode, train, self.dtype)
    fused = Fusion(
      self.width, self.dilations, norm, self.dtype, name='fuse_layer'
    )(jnp.concatenate(maps, -1))
    still = not (train and self.has_rng('dropout'))
    # Whole channels, as torch's Dropout2d.
    read = nn.Dropout(self.dropout, (1, 2), deterministic=still)(fused)
    before = features[self.levels[-2]] if len(self.levels) > 1 else fused
    logits = {
      head: layers.Conv(
        self.num_classes,
        1,
        use_bias=True,
        kernel_init=nn.initializers.normal(0.01),
        name=_NAMES[head],
      )(read if head == 'main' or self.summed else before)
      for head in self.heads
    }
    return logits, fused

  @nn.nowrap
  def predicted(self, logits: dict[str, Array]) -> Array:
    """Return the prediction's logits, of those of the heads."""
    return _heads.predicted(logits, self.summed)


def build(config, num_classes: int) -> Decoder:
  """Return the decoder that `config.model` and `config.bn_mode` describe."""
  model, d = config.model, config.model.decoder
  return Decoder(
    num_classes,
    tuple(encoders.load(model.encoder.name).channels(model.encoder)),
    d.width,
    d.dilations if d.fusion == 'aspp' else (),
    d.dropout,
    heads(d),
    d.shared_features and d.multi_level,
    config.bn_mode,
    jnp.dtype(model.dtype),
  )


def main_channels(config) -> int:
  """Return the channels of the map that the main head reads: the fused one."""
  return config.model.decoder.width


def head_params(params: dict) -> dict[str, dict]:
  """Return each head's own parameters, of those of a decoder."""
  return _heads.params_of(params, _NAMES)


def exports(model) -> tuple[str, ...]:
  """Return what a run's segmenter can be written as, the default first."""
  name = 'daformer' if model.decoder.fusion == 'aspp' else 'segformer'
  name = 'hrda' if any(model.detail) else name
  return (name, f'{name}_trained')


def _renamed(*rules: tuple[str, str]):
  """Return the rename of a head by some rules; an encoder keeps its own."""
  return torch_names.in_order(
    *rules,
    (r'(embed_layers\.\d)\.', r'\1.proj.'),
    (
      r'fuse_layer\.aspp_modules_(\d)_(\w+wise)_(conv|bn)',
      r'fuse_layer.aspp_modules.\1.\2_conv.\3',
    ),
    (
      r'fuse_layer\.aspp_modules_(\d)_(conv|bn)',
      r'fuse_layer.aspp_modules.\1.\2',
    ),
    (r'fuse_layer\.bottleneck_', 'fuse_layer.bottleneck.'),
    (r'(.*)', mit.LAYOUTS[0].rename),
  )


_BACKBONE = {'encoder': 'backbone.', 'decoder': 'decode_head.'}
_SEGFORMER = (
  (r'fuse_layer\.', 'linear_fuse.'),
  (r'conv_seg\.', 'linear_pred.'),
)
_CLASSIFIER = {r'decode_head\.conv_seg\.': 'linear_pred is what classifies'}
_PLAIN = (
  Layout(
    'daformer',
    "DAFormer's segmenters",
    (r'backbone\.', r'decode_head\.embed_layers\.0\.proj\.'),
    _renamed(),
    prefixes=_BACKBONE,
  ),
  Layout(
    'hrda',
    "HRDA's and MIC's segmenters",
    (r'backbone\.', r'decode_head\.scale_attention\.embed_layers\.'),
    _renamed(),
    prefixes={
      'encoder': 'backbone.',
      'decoder': 'decode_head.head.',
      'attention': 'decode_head.scale_attention.',
    },
  ),
  Layout(
    'segformer',
    "SegFormer's segmenters in DAFormer's code",
    (r'backbone\.', r'decode_head\.linear_c\.0\.proj\.'),
    _renamed(*_SEGFORMER, (r'embed_layers\.(\d)\.', r'linear_c.\1.proj.')),
    _CLASSIFIER,
    prefixes=_BACKBONE,
  ),
)
LAYOUTS = (
  *_PLAIN,
  *map(torch_names.as_trained, _PLAIN),
  Layout(
    'segformer_nvlabs',
    "SegFormer's segmenters in its authors' code",
    (r'backbone\.', r'decode_head\.linear_c1\.proj\.'),
    _renamed(
      *_SEGFORMER,
      *((rf'embed_layers\.{i}\.', f'linear_c{i + 1}.proj.') for i in range(4)),
    ),
    _CLASSIFIER,
    prefixes=_BACKBONE,
    deepest_first=r'fuse_layer\.conv\.weight',
  ),
)
