"""ResNets at output stride 8, in the variants of the originals.

caffe (ADVENT, advent/model/deeplabv2.py; AdaptSegNet, BDL, CLAN, CRST): the
stride sits in a block's first 1x1 convolution, max-pooling rounds up, every
block of layer3 is dilated by 2 and of layer4 by 4.

torchvision (FADA, core/models/resnet.py): the stride sits in the 3x3
convolution, max-pooling rounds down, and the first block of layer3 and of
layer4 keeps the dilation of the layer before.

v1c (mmcv's resnet101_v1c, the encoder of DAFormer's line on DeepLabV2): as
torchvision, but three 3x3 convolutions in place of the stem's 7x7 one.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import layers, torch_names
from jaxuda.models import norm as norm_lib
from jaxuda.models.torch_names import Layout
from jaxuda.utils.settings import Setting

Array = jax.Array

RESNET101 = (3, 4, 23, 3)
VARIANTS = ('caffe', 'torchvision', 'v1c')
_DILATIONS = (1, 1, 2, 4)  # of layer1 to layer4

SETTINGS = {
  'blocks': Setting(
    RESNET101, 'bottlenecks of each layer: ResNet-101', least=1, length=4
  ),
  'width': Setting(64, 'channels of the stem', least=1),
  'variant': Setting(
    'caffe',
    'where strides and dilations sit, and the stem; FADA has torchvision',
    VARIANTS,
  ),
  'kernel_init': Setting(
    'caffe',
    'how random weights are drawn; he for training from scratch',
    tuple(layers.KERNEL_INITS),
  ),
}
INPUT_NORM = 'caffe'
DECODER = 'deeplab_v2'
SIDES_DIVIDE_BY = 1
DEEPEST = 'layer4'
RNGS = ()


class Bottleneck(nn.Module):
  """1x1, 3x3 (carries the dilation), 1x1, and a sum.

  Attributes:
    planes: channels inside; the output has four times as many.
    stride, dilation: of the block.
    stride_first: whether the first convolution carries the stride; the second.
    downsample: whether the shortcut has its own 1x1 convolution.
    conv, norm: partial layers that hold dtype, initializer and norm mode.
  """

  planes: int
  stride: int
  dilation: int
  stride_first: bool
  downsample: bool
  conv: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, C] to f[B, H / stride, W / stride, 4 planes]."""
    first, second = (self.stride, 1) if self.stride_first else (1, self.stride)
    y = self.conv(self.planes, 1, first, name='conv1')(x)
    y = nn.relu(self.norm(name='bn1')(y))
    d = self.dilation
    y = self.conv(self.planes, 3, second, d, d, name='conv2')(y)
    y = nn.relu(self.norm(name='bn2')(y))
    y = self.conv(4 * self.planes, 1, name='conv3')(y)
    y = self.norm(name='bn3')(y)
    if self.downsample:
      x = self.conv(4 * self.planes, 1, self.stride, name='downsample_0')(x)
      x = self.norm(name='downsample_1')(x)
    return layers.computed_once(nn.relu(x + y))


class Encoder(nn.Module):
  """Stem and four layers; gives the maps that one or two heads read.

  Attributes:
    blocks: bottlenecks a layer, (3, 4, 23, 3) for ResNet-101.
    width: channels of the stem and planes of layer1, 64 as published; each
      further layer doubles the planes.
    variant: one of VARIANTS.
    bn_mode: a mode of norm.Norm.
    kernel_init: a name of layers.KERNEL_INITS.
    dtype: compute type.
    remat: whether activations inside a block are recomputed in the backward
      pass instead of kept.
  """

  blocks: Sequence[int]
  width: int
  variant: str
  bn_mode: str
  kernel_init: str
  dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool) -> dict[str, Array]:
    """Map f[B, H, W, 3] to layer3 f[B, h, w, 16 width], layer4 f[.., 32 width].

    720 -> h = 91 in the caffe variant (its pooling rounds up), else 90.
    """
    init = layers.KERNEL_INITS[self.kernel_init]
    conv = partial(layers.Conv, kernel_init=init, dtype=self.dtype)
    norm = partial(norm_lib.Norm, self.bn_mode, train, self.dtype)
    x = self._stem(x, conv, norm)
    x = layers.max_pool(x, ceil=self.variant == 'caffe')
    block = nn.remat(Bottleneck) if self.remat else Bottleneck
    maps = {}
    for layer, count in enumerate(self.blocks):
      for i in range(count):
        kept = i == 0 and self.variant != 'caffe'
        x = block(
          self.width * 2**layer,
          2 if (layer, i) == (1, 0) else 1,
          _DILATIONS[max(layer - kept, 0)],
          self.variant == 'caffe',
          downsample=i == 0,
          conv=conv,
          norm=norm,
          name=f'layer{layer + 1}_{i}',
        )(x)
      maps[f'layer{layer + 1}'] = x
    return {name: maps[name] for name in ('layer3', 'layer4')}

  def _stem(self, x, conv, norm):
    if self.variant != 'v1c':
      x = conv(self.width, 7, 2, 3, name='conv1')(x)
      return nn.relu(norm(name='bn1')(x))
    for i, (channels, stride) in enumerate(
      ((self.width // 2, 2), (self.width // 2, 1), (self.width, 1))
    ):
      # Their places in the Sequential of the checkpoint; a ReLU has the third.
      x = conv(channels, 3, stride, 1, name=f'stem_{3 * i}')(x)
      x = nn.relu(norm(name=f'stem_{3 * i + 1}')(x))
    return x


def build(config) -> Encoder:
  """Return the encoder that `config.model` and `config.bn_mode` describe."""
  model, e = config.model, config.model.encoder
  return Encoder(
    e.blocks,
    e.width,
    e.variant,
    config.bn_mode,
    e.kernel_init,
    jnp.dtype(model.dtype),
    model.remat,
  )


def channels(encoder_config) -> dict[str, int]:
  """Return the channels of each map that the encoder gives."""
  width = encoder_config.width
  return {'layer3': 16 * width, 'layer4': 32 * width}


_NORMS = ('downsample_1', 'stem_1', 'stem_4', 'stem_7')


def param_group(path: tuple[str, ...], config) -> str:
  """Return a parameter's group; batch norm's affine ones may be frozen.

  The originals set requires_grad=False for them: torch leaves alone what has no
  gradient, without decay and momentum.
  """
  of_norm = path[-2].startswith('bn') or path[-2] in _NORMS
  return 'frozen' if of_norm and not config.train_bn_affine else 'backbone'


def times_listed(path: tuple[str, ...]) -> int:
  """Return how often the originals' SGD lists a parameter.

  Their generator walks modules() and yields each module's recursive
  parameters(): a block's convolutions come with the block, with its layer and
  by themselves; a shortcut's convolution also with the shortcut (AdaptSegNet,
  model/deeplab_multi.py, get_1x_lr_params_NOscale; the same in ADVENT, BDL,
  CLAN and CRST, but not in FADA).
  """
  if not path[0].startswith('layer'):
    return 1
  return 4 if path[-2].startswith('downsample') else 3


def told(keys: Iterable[str]) -> dict[str, tuple[int, ...]]:
  """Return what keys tell of a ResNet, whatever stands before them."""
  blocks: dict[int, int] = {}
  for key in keys:
    if found := re.search(r'\blayer([1-4])\.(\d+)\.', key):
      stage, block = map(int, found.groups())
      blocks[stage] = max(blocks.get(stage, 0), block + 1)
  counts = tuple(blocks[stage] for stage in sorted(blocks))
  return {'encoder.blocks': counts} if counts else {}


LAYOUTS = (
  Layout(
    'scale',
    'the pretrained files of AdaptSegNet, ADVENT, BDL and CLAN',
    (r'Scale\.layer1\.0\.conv1\.weight',),
    torch_names.in_order(('', 'Scale.')),
    {r'Scale\.layer5\.': "another dataset's classifier"},
    torch_names.HEADLESS,
    settings={'encoder.variant': 'caffe', 'input_norm': 'caffe'},
    told=told,
  ),
  Layout(
    'resnet_v1c',
    "mmcv's ImageNet ResNets with the deep stem",
    (r'layer1\.0\.conv1\.weight', r'stem\.0\.weight'),
    torch_names.unchanged,
    {r'fc\.': "ImageNet's classifier"},
    torch_names.HEADLESS,
    settings={'encoder.variant': 'v1c', 'input_norm': 'torchvision'},
    told=told,
  ),
  Layout(
    'torchvision_resnet',
    "torchvision's ImageNet ResNets",
    (r'layer1\.0\.conv1\.weight', r'conv1\.weight'),
    torch_names.unchanged,
    {r'fc\.': "ImageNet's classifier"},
    torch_names.HEADLESS,
    settings={'input_norm': 'torchvision'},
    told=told,
  ),
)
