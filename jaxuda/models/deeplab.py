"""DeepLabV2: a backbone at output stride 8 and one or two ASPP heads."""

from collections.abc import Sequence

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from jaxuda.models import layers, resnet, vgg

Array = jax.Array

# Caffe's mean pixel, in its own channel order: blue, green, red.
_MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)

HEADS = ('layer5', 'layer6')  # the parameters that learn at ten times the rate


@flax.struct.dataclass
class Outputs:
  """What one forward pass of a segmenter gives to the losses.

  Attributes:
    logits: a head's name ('main', and 'aux' when multi-level) to
      f32[B, H, W, classes], upsampled once to the image's size.
    features: f[B, h, w, C], what the main head reads.
  """

  logits: dict[str, Array]
  features: Array


class DeepLabV2(nn.Module):
  """A segmenter: uint8 RGB images in, logits of its heads out.

  Attributes:
    num_classes: channels of the logits.
    backbone: 'resnet' or 'vgg16'.
    blocks, width: see resnet.ResNet and vgg.VGG16.
    dilations: of the ASPP branches that are summed; (6, 12, 18, 24) in
      ADVENT, the first two in AdaptSegNet, whose code returns inside the loop.
    multi_level: whether a second ('aux') head reads layer3.
    norm: a norm mode of layers.Norm.
    kernel_init: 'caffe', N(0, 0.01) as the originals before they load ImageNet
      weights, or 'he' for training from scratch.
    dtype: compute type of the convolutions; logits are float32.
    remat: whether the backbone recomputes its activations.
  """

  num_classes: int
  backbone: str = 'resnet'
  blocks: Sequence[int] = resnet.RESNET101
  width: int = 64
  dilations: Sequence[int] = (6, 12, 18, 24)
  multi_level: bool = True
  norm: str = 'batch'
  kernel_init: str = 'caffe'
  dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, image: Array, train: bool
  ) -> tuple[dict[str, Array], Array]:
    """u8[B, H, W, 3] -> ({head: f32[B, h, w, classes]}, features) at 1/8."""
    x = image[..., ::-1].astype(jnp.float32) - jnp.array(_MEAN_BGR)
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
      self.norm,
      inits[self.kernel_init],
      self.dtype,
      self.remat,
      name='backbone',
    )(x, train)
    logits = {'main': self._head('layer6')(layer4)}
    if self.multi_level:
      logits['aux'] = self._head('layer5')(layer3)
    return logits, layer4

  def _head(self, name: str) -> nn.Module:
    return layers.ASPP(self.num_classes, self.dilations, self.dtype, name=name)


def heads(model) -> tuple[str, ...]:
  """The names of the logits of the network that `config.model` describes."""
  return ('main', 'aux') if model.multi_level else ('main',)


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
  logits = {k: layers.resize_align_corners(v, size) for k, v in logits.items()}
  return Outputs(logits, features), updated.get('batch_stats', batch_stats)
