"""DeepLabV2's heads: one or two sums of dilated convolutions (ASPP).

(AdaptSegNet, model/deeplab_multi.py; ADVENT, advent/model/deeplabv2.py.)
"""

import functools
import operator
import re
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import encoders, layers, matrix_forms, torch_names
from jaxuda.models.decoders import _heads
from jaxuda.models.encoders import resnet
from jaxuda.models.torch_names import Layout
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting

Array = jax.Array
heads = _heads.heads

SETTINGS = {
  'dilations': Setting((6, 12, 18, 24), 'of the branches', least=1),
  'aspp_branches': Setting(
    4, "how many of `dilations` are summed; 2 in AdaptSegNet's code", least=1
  ),
  'multi_level': Setting(True, 'whether a second head reads layer3'),
  'shared_features': Setting(
    False, 'both heads read layer4, the prediction is their sum (CLAN)'
  ),
}

RNGS = ()
_NAMES = {'main': 'layer6', 'aux': 'layer5'}  # of the heads' parameters


class ASPP(nn.Module):
  """The sum of dilated 3x3 convolutions with bias: DeepLabV2's classifier.

  (ADVENT, advent/model/deeplabv2.py: weights N(0, 0.01), padding = dilation.)

  Attributes:
    num_classes: output channels.
    dilations: of the branches.
    aspp_branches: how many of them are summed, from the first; None for all.
      AdaptSegNet's code returns inside the loop, after two; its other branches
      stay what they were, in every checkpoint.
    dtype: compute type.
  """

  num_classes: int
  dilations: Sequence[int]
  aspp_branches: int | None = None
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, C] to f32[B, H, W, num_classes]."""
    branches = [
      _Branch(self.num_classes, name=f'conv2d_list_{i}')(x.shape[-1])
      for i in range(len(self.dilations))
    ][: self.aspp_branches]
    dilations = self.dilations[: self.aspp_branches]
    kernels = [kernel.astype(self.dtype) for kernel, _ in branches]
    bias = sum(bias for _, bias in branches)
    x = x.astype(self.dtype)
    if layers.use_matrix_forms() and not layers.of_any_size(x):
      y = matrix_forms.shifted_sum(x, kernels, dilations)
    else:
      maps = (
        layers.conv(x, kernel, 1, dilation, dilation)
        for kernel, dilation in zip(kernels, dilations, strict=True)
      )
      y = functools.reduce(operator.add, maps)
    return y.astype(jnp.float32) + bias


class _Branch(nn.Module):
  """Holds the parameters of one ASPP branch under the checkpoint's name."""

  features: int

  @nn.compact
  def __call__(self, channels: int) -> tuple[Array, Array]:
    shape = (3, 3, channels, self.features)
    kernel = layers.param(self, 'kernel', nn.initializers.normal(0.01), shape)
    bias_init = layers.torch_uniform(9 * channels)
    return kernel, layers.param(self, 'bias', bias_init, (self.features,))


class Decoder(nn.Module):
  """One head, or two.

  Attributes:
    num_classes: channels of the logits.
    reads: which of the encoder's maps each head reads; the main one comes
      first.
    dilations, aspp_branches: see ASPP.
    summed: whether the prediction is the sum of all heads (CLAN,
      model/CLAN_G.py), in place of the main one.
    dtype: compute type; logits are float32.
  """

  num_classes: int
  reads: tuple[tuple[str, str], ...]
  dilations: Sequence[int]
  aspp_branches: int
  summed: bool
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self, features: dict[str, Array], train: bool
  ) -> tuple[dict[str, Array], Array]:
    """Map {name: f[B, h, w, c]} to {head: f32[B, h, w, num_classes]}.

    Returns:
      These, and the map that the main head reads.
    """
    del train  # nothing here behaves differently
    logits = {
      head: ASPP(
        self.num_classes,
        self.dilations,
        self.aspp_branches,
        self.dtype,
        name=_NAMES[head],
      )(features[name])
      for head, name in self.reads
    }
    return logits, features[dict(self.reads)['main']]

  @nn.nowrap
  def predicted(self, logits: dict[str, Array]) -> Array:
    """Return the prediction's logits, of those of the heads."""
    return _heads.predicted(logits, self.summed)


def build(config, num_classes: int) -> Decoder:
  """Return the decoder that `config.model` describes.

  Raises:
    UserError: two heads are asked for, and the encoder has maps for one.
  """
  model, d = config.model, config.model.decoder
  encoder = encoders.load(model.encoder.name)
  maps = list(encoder.channels(model.encoder))
  if d.multi_level and not d.shared_features and len(maps) < 2:
    raise UserError(
      'config.model.decoder.multi_level=True needs an encoder with two maps; '
      f'{model.encoder.name} has one.'
    )
  reads = {'main': encoder.DEEPEST}
  if d.multi_level:
    reads['aux'] = encoder.DEEPEST if d.shared_features else maps[-2]
  return Decoder(
    num_classes,
    tuple(reads.items()),
    d.dilations,
    d.aspp_branches,
    d.shared_features and d.multi_level,
    jnp.dtype(model.dtype),
  )


def main_channels(config) -> int:
  """Return the channels of the map that the main head reads."""
  encoder = config.model.encoder
  module = encoders.load(encoder.name)
  return module.channels(encoder)[module.DEEPEST]


def head_params(params: dict) -> dict[str, dict]:
  """Return each head's own parameters, of those of a decoder."""
  return _heads.params_of(params, _NAMES)


def param_group(path: tuple[str, ...], config) -> str:
  """Return 'head', or 'frozen' for a branch that nothing sums.

  torch leaves alone what has no gradient, without decay and momentum.
  """
  branch = int(path[1].rpartition('_')[2])
  live = branch < config.model.decoder.aspp_branches
  return 'head' if live else 'frozen'


def exports(model) -> tuple[str, ...]:
  """Return what a run's segmenter can be written as, the default first."""
  encoder = model.encoder
  if encoder.name == 'vgg16':
    return ('deeplab_vgg',)
  if encoder.name != 'resnet':
    return ()
  if any(model.detail):
    return ('hrda_dlv2', 'hrda_dlv2_trained')
  if encoder.variant == 'v1c':
    return ('dlv2', 'dlv2_trained')
  return ('deeplab', 'bdl')


def _told(keys):
  """Return what the keys of a whole segmenter on ResNet tell."""
  keys = list(keys)
  levels = any(re.search(r'\blayer5\.', key) for key in keys)
  return {**resnet.told(keys), 'decoder.multi_level': levels}


_CAFFE = {'encoder.variant': 'caffe', 'input_norm': 'caffe'}
_FIRST = r'layer1\.0\.conv1\.weight'
_DLV2 = torch_names.in_order(
  (r'layer6\.conv2d_list\.(\d)\.', r'aspp_modules.\1.conv.')
)
_V1C = {'encoder.variant': 'v1c', 'input_norm': 'torchvision'}
_OF_DAFORMER = (
  Layout(
    'dlv2',
    "DeepLabV2 in DAFormer's and MIC's code",
    (r'backbone\.', r'decode_head\.aspp_modules\.0\.conv\.'),
    _DLV2,
    settings=_V1C,
    prefixes={'encoder': 'backbone.', 'decoder': 'decode_head.'},
    told=_told,
  ),
  Layout(
    'hrda_dlv2',
    "HRDA's and MIC's segmenters on DeepLabV2",
    (r'backbone\.', r'decode_head\.scale_attention\.aspp_modules\.'),
    _DLV2,
    settings=_V1C,
    prefixes={
      'encoder': 'backbone.',
      'decoder': 'decode_head.head.',
      'attention': 'decode_head.scale_attention.',
    },
    told=_told,
  ),
)

LAYOUTS = (
  Layout(
    'fada',
    "FADA's checkpoints",
    (r'feature_extractor\.backbone\.', r'classifier\.conv2d_list\.'),
    torch_names.in_order(
      (r'layer6\.', 'classifier.'),
      (r'features\.', 'feature_extractor.backbone.'),
      (r'(D\.|cls[12]\.)', r'model_D.\1'),
      ('', 'feature_extractor.backbone.'),
    ),
    {
      r'iteration$': 'training goes by our own step',
      r'optimizer_': "torch's optimizer state",
    },
    discriminator=r'model_D\.',
    settings={'encoder.variant': 'torchvision'},
    told=_told,
  ),
  Layout(
    'deeplab',
    "AdaptSegNet's and ADVENT's segmenters",
    (_FIRST, r'layer6\.conv2d_list\.0\.weight'),
    torch_names.unchanged,
    settings=_CAFFE,
    told=_told,
  ),
  Layout(
    'bdl',
    "BDL's segmenter, whose main head is called layer5",
    (_FIRST, r'layer5\.conv2d_list\.0\.weight'),
    torch_names.in_order((r'layer5\.', None), (r'layer6\.', 'layer5.')),
    settings=_CAFFE,
    told=resnet.told,
  ),
  Layout(
    'deeplab_vgg',
    "AdaptSegNet's VGG-16 segmenter",
    (r'features\.0\.weight', r'classifier\.conv2d_list\.0\.weight'),
    torch_names.in_order((r'layer6\.', 'classifier.')),
  ),
  *_OF_DAFORMER,
  *map(torch_names.as_trained, _OF_DAFORMER),
)
