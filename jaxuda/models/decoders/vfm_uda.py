"""VFM-UDA's decoder: the patches of a transformer, enlarged four times.

(Englert et al., "Exploring the Benefits of Vision Foundation Models for
Unsupervised Domain Adaptation", CVPRW 2024; tue-mps/vfm-uda.)
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import encoders, layers
from jaxuda.models.decoders import _heads
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting

Array = jax.Array
heads = _heads.heads

SETTINGS = {
  'multi_level': Setting(False, 'whether there is a second head'),
  'shared_features': Setting(
    False, 'both heads read the enlarged map, the prediction is their sum'
  ),
}
RNGS = ()
LAYOUTS = ()
_NAMES = {'main': 'conv_seg', 'aux': 'aux_seg'}  # of the classifiers


class Enlarged(nn.Module):
  """A transposed convolution of 2x2 and stride 2, which is a dense layer.

  Attributes:
    features: of each of the four cells that one becomes.
    dtype: compute type.
  """

  features: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, h, w, c] to f[B, 2h, 2w, features]."""
    b, h, w, _ = x.shape
    init = layers.torch_uniform(4 * self.features)
    y = nn.DenseGeneral(
      (2, 2, self.features), kernel_init=init, use_bias=False, dtype=self.dtype
    )(x)
    y = jnp.swapaxes(y, 2, 3).reshape(b, 2 * h, 2 * w, self.features)
    return y + layers.param(self, 'bias', init, (self.features,)).astype(
      self.dtype
    )


class Decoder(nn.Module):
  """One head, or two.

  Attributes:
    num_classes: channels of the logits.
    reads: the name of the encoder's map.
    heads: names of the logits; all read the enlarged map.
    dtype: compute type; logits are float32.
  """

  num_classes: int
  reads: str
  heads: tuple[str, ...]
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self, features: dict[str, Array], train: bool
  ) -> tuple[dict[str, Array], Array]:
    """Map {name: f[B, h, w, c]} to {head: f32[B, 4h, 4w, num_classes]}.

    Returns:
      These, and the map that the heads read, f[B, 4h, 4w, c / 4].
    """
    del train  # nothing here behaves differently
    x = features[self.reads]
    half, quarter = x.shape[-1] // 2, x.shape[-1] // 4
    x = Enlarged(half, self.dtype, name='upscale_0')(x)
    x = nn.gelu(self._norm('norm_0')(x), approximate=False)
    x = Enlarged(quarter, self.dtype, name='upscale_1')(x)
    x = self._norm('norm_1')(x)
    conv = layers.Conv(quarter, 3, padding=1, dtype=self.dtype, name='conv')
    x = self._norm('norm_2')(conv(x))
    init = nn.initializers.normal(0.1)
    logits = {
      head: layers.Conv(self.num_classes, 1, kernel_init=init, name=name)(x)
      for head, name in _NAMES.items()
      if head in self.heads
    }
    return logits, x

  def _norm(self, name):
    return nn.LayerNorm(1e-6, self.dtype, use_fast_variance=False, name=name)

  @nn.nowrap
  def predicted(self, logits: dict[str, Array]) -> Array:
    """Return the prediction's logits, of those of the heads."""
    return _heads.predicted(logits, summed=len(self.heads) > 1)


def build(config, num_classes: int) -> Decoder:
  """Return the decoder that `config.model` describes.

  Raises:
    UserError: two heads are asked for that do not share their map.
  """
  model, d = config.model, config.model.decoder
  if d.multi_level and not d.shared_features:
    raise UserError(
      'config.model.decoder.multi_level=True needs '
      'config.model.decoder.shared_features=True: vfm_uda reads one map.'
    )
  encoder = encoders.load(model.encoder.name)
  return Decoder(num_classes, encoder.DEEPEST, heads(d), jnp.dtype(model.dtype))


def main_channels(config) -> int:
  """Return the channels of the map that the main head reads."""
  encoder = config.model.encoder
  module = encoders.load(encoder.name)
  return module.channels(encoder)[module.DEEPEST] // 4


def head_params(params: dict) -> dict[str, dict]:
  """Return each head's own parameters, of those of a decoder."""
  return _heads.params_of(params, _NAMES)


def param_group(path: tuple[str, ...], config) -> str:
  """Return 'head': all of it learns."""
  del path, config
  return 'head'
