"""DeepLabV2: a backbone at output stride 8 and one or two ASPP heads."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from jaxuda.models import layers, resnet, vgg

Array = jax.Array


class Pixels(NamedTuple):
  """How a pretrained file wants its input: (x / scale - mean) / std.

  Attributes:
    bgr: whether the channels are blue, green, red; mean and std in that order.
  """

  bgr: bool
  scale: float
  mean: tuple[float, float, float]
  std: tuple[float, float, float]


# caffe: the ResNets of AdaptSegNet, ADVENT, BDL and CLAN; caffe_vgg: FADA's
# VGG-16 (configs/deeplabv2_vgg16_adv.yaml); torchvision: FADA's ResNet.
PIXELS = {
  'caffe': Pixels(
    True, 1.0, (104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0)
  ),
  'caffe_vgg': Pixels(True, 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
  'torchvision': Pixels(
    False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
  ),
}

HEADS = ('layer5', 'layer6')  # the parameters that learn at ten times the rate


@flax.struct.dataclass
class Outputs:
  """What one forward pass of a segmenter gives to the losses.

  Attributes:
    logits: a head's name ('main', and 'aux' when multi-level) to
      f32[B, H, W, classes], divided by the net's temperature and upsampled
      once to the image's size.
    features: f[B, h, w, C], what the main head reads.
  """

  logits: dict[str, Array]
  features: Array


class DeepLabV2(nn.Module):
  """A segmenter: uint8 RGB images in, logits of its heads out.

  Attributes:
    num_classes: channels of the logits.
    backbone: 'resnet' or 'vgg16'.
    blocks, width, style: see resnet.ResNet and vgg.VGG16.
    pixels: a name of PIXELS.
    dilations, live_branches: see layers.ASPP.
    multi_level: whether a second ('aux') head reads layer3.
    twin: whether the second head reads layer4, too, and the prediction is the
      sum of both (CLAN, model/CLAN_G.py).
    norm: a norm mode of norm.Norm.
    kernel_init: 'caffe', N(0, 0.01) as the originals before they load ImageNet
      weights, or 'he' for training from scratch.
    align_corners: of the upsampling of the logits, see layers.resize.
    temperature: what the logits are divided by in training, 1.8 in FADA.
    dtype: compute type of the convolutions; logits are float32.
    remat: whether the backbone recomputes its activations.
  """

  num_classes: int
  backbone: str = 'resnet'
  blocks: Sequence[int] = resnet.RESNET101
  width: int = 64
  style: str = 'caffe'
  pixels: str = 'caffe'
  dilations: Sequence[int] = (6, 12, 18, 24)
  live_branches: int = 4
  multi_level: bool = True
  twin: bool = False
  norm: str = 'batch'
  kernel_init: str = 'caffe'
  align_corners: bool = True
  temperature: float = 1.0
  dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, image: Array, train: bool
  ) -> tuple[dict[str, Array], Array]:
    """u8[B, H, W, 3] -> ({head: f32[B, h, w, classes]}, features) at 1/8."""
    pixels = PIXELS[self.pixels]
    x = image.astype(jnp.float32)
    x = (x[..., ::-1] if pixels.bgr else x) / pixels.scale
    x = (x - jnp.array(pixels.mean)) / jnp.array(pixels.std)
    x = x.astype(self.dtype)
    if self.backbone == 'vgg16':
      x = vgg.VGG16(self.width, self.dtype, self.remat, name='backbone')(x)
      return {'main': self._head('layer6')(x)}, x
    inits = {
      'caffe': nn.initializers.normal(0.01),
      'he': nn.initializers.he_normal(),
    }
    layer3, layer4 = resnet.ResNet(
      self.blocks,
      self.width,
      self.style,
      self.norm,
      inits[self.kernel_init],
      self.dtype,
      self.remat,
      name='backbone',
    )(x, train)
    logits = {'main': self._head('layer6')(layer4)}
    if self.multi_level:
      logits['aux'] = self._head('layer5')(layer4 if self.twin else layer3)
    return logits, layer4

  def _head(self, name: str) -> nn.Module:
    return layers.ASPP(
      self.num_classes,
      self.dilations,
      self.live_branches,
      self.dtype,
      name=name,
    )


def heads(model) -> tuple[str, ...]:
  """The names of the logits of the network that `config.model` describes."""
  return ('main', 'aux') if model.multi_level else ('main',)


@functools.cache  # to trace a ResNet-101 takes seconds
def abstract(net: DeepLabV2) -> dict:
  """Shapes and types of a network's params and batch_stats."""
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
  init = functools.partial(net.init, train=False)
  return {'batch_stats': {}} | jax.eval_shape(init, jax.random.key(0), image)


def feature_channels(model) -> int:
  """Channels of Outputs.features of the network that `config.model` describes."""
  return model.width * (16 if model.backbone == 'vgg16' else 32)


def forward(
  net: DeepLabV2, params: dict, batch_stats: dict, image: Array
) -> tuple[Outputs, dict]:
  """A training forward pass; returns outputs and new batch statistics.

  Args:
    net: the segmenter.
    params, batch_stats: its variables.
    image: u8[B, H, W, 3].
  """
  (logits, features), updated = net.apply(
    {'params': params, 'batch_stats': batch_stats},
    image,
    train=True,
    mutable=['batch_stats'],
  )
  size = image.shape[1:3]
  logits = {
    head: layers.resize(small / net.temperature, size, net.align_corners)
    for head, small in logits.items()
  }
  return Outputs(logits, features), updated.get('batch_stats', batch_stats)
