"""A light decoder: all levels on the finest one's grid, fused by one 3x3.

Like SegFormer's head (Xie et al., NeurIPS 2021), but for encoders whose maps
end without a norm, as EfficientNet's: each level has a norm of its own, so that
none of them drowns the others. It is made for networks that learn in a few
hundred steps.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import encoders, layers
from jaxuda.models import norm as norm_lib
from jaxuda.models.decoders import _heads
from jaxuda.utils.settings import Setting

Array = jax.Array
heads = _heads.heads
param_group = _heads.group_beside_norms

SETTINGS = {
  'width': Setting(
    64, 'channels of the fused map; each level has half as many', least=2
  ),
  'multi_level': Setting(False, 'whether a second head reads the level before'),
  'shared_features': Setting(
    False, 'both heads read the fused map, the prediction is their sum (CLAN)'
  ),
}
RNGS = ()
LAYOUTS = ()
_NAMES = {'main': 'classifier', 'aux': 'aux_classifier'}


class Decoder(nn.Module):
  """One head, or two.

  Attributes:
    num_classes: channels of the logits.
    levels: the names of the encoder's maps, from the finest.
    width: see SETTINGS.
    heads: names of the logits; 'aux' reads the deepest level but one.
    summed: whether both read the fused map, and the prediction is their sum.
    bn_mode: a mode of norm.Norm.
    dtype: compute type; logits are float32.
  """

  num_classes: int
  levels: tuple[str, ...]
  width: int
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
    norm = partial(norm_lib.Norm, self.bn_mode, train, self.dtype)
    conv = partial(layers.Conv, dtype=self.dtype)
    size = features[self.levels[0]].shape[1:3]
    maps = []
    for i, level in enumerate(self.levels):
      x = conv(self.width // 2, 1, name=f'level{i}_conv')(features[level])
      x = nn.relu(norm(name=f'level{i}_bn')(x))
      if x.shape[1:3] != size:
        x = layers.resize(x, size, align_corners=False).astype(self.dtype)
      maps.append(x)
    x = conv(self.width, 3, padding=1, name='fuse_conv')(
      jnp.concatenate(maps, -1)
    )
    fused = nn.relu(norm(name='fuse_bn')(x))
    before = features[self.levels[-2]] if len(self.levels) > 1 else fused
    logits = {
      head: layers.Conv(self.num_classes, 1, use_bias=True, name=_NAMES[head])(
        fused if head == 'main' or self.summed else before
      )
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
