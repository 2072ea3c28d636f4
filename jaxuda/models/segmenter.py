"""A segmenter: an encoder, a decoder, and the form of the encoder's input."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from jaxuda import labels
from jaxuda.models import decoders, encoders, hrda, layers

Array = jax.Array


class InputNorm(NamedTuple):
  """How pretrained weights want their input: (x / scale - mean) / std.

  Attributes:
    bgr: whether the channels are blue, green, red; mean and std in that order.
  """

  bgr: bool
  scale: float
  mean: tuple[float, float, float]
  std: tuple[float, float, float]


# caffe: the ResNets of AdaptSegNet, ADVENT, BDL and CLAN; caffe_vgg: FADA's
# VGG-16 (configs/deeplabv2_vgg16_adv.yaml); torchvision: FADA's ResNet, and
# all encoders of DAFormer's line.
INPUT_NORMS = {
  'caffe': InputNorm(
    True, 1.0, (104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0)
  ),
  'caffe_vgg': InputNorm(
    True, 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)
  ),
  'torchvision': InputNorm(
    False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
  ),
  'efficientnet_lite': InputNorm(False, 1.0, (127.0,) * 3, (128.0,) * 3),
}


@flax.struct.dataclass
class Outputs:
  """What one forward pass of a segmenter gives to the losses.

  Attributes:
    logits: a head's name ('main', and the decoder's others) to
      f32[B, h, w, C]; of `forward` at the image's size.
    features: a name to f[B, h, w, c]: the encoder's maps.
    main_features: f[B, h, w, c], the map that the main head reads.
    detail: what HRDA's segmenter says of a training's crop; None elsewhere.
  """

  logits: dict[str, Array]
  features: dict[str, Array]
  main_features: Array
  detail: hrda.Detail | None = None


class Segmenter(nn.Module):
  """uint8 RGB images in, logits of the decoder's heads out.

  Attributes:
    encoder, decoder: see the packages of these names.
    input_norm: a name of INPUT_NORMS.
    num_classes: channels of the logits.
    align_corners: of the upsampling of the logits, see layers.resize.
    temperature: what the logits are divided by in training, 1.8 in FADA.
    dtype: compute type of the convolutions; logits are float32.
    attention: HRDA's second head, see hrda.py; None for one resolution.
    detail: (height, width) of HRDA's crop.
  """

  encoder: nn.Module
  decoder: nn.Module
  input_norm: str
  num_classes: int
  align_corners: bool = True
  temperature: float = 1.0
  dtype: jnp.dtype = jnp.float32
  attention: nn.Module | None = None
  detail: tuple[int, int] = (0, 0)

  def __call__(self, image: Array, train: bool) -> Outputs:
    """Map u8[B, H, W, 3], or floats of the same range, to small logits."""
    x = self.normalise(image)
    if self.attention is None:
      features, logits, read = self.one_resolution(x, train)
      return Outputs(logits, features, read)
    return Outputs(*hrda.two_resolutions(self, x, train))

  def one_resolution(
    self, x: Array, train: bool
  ) -> tuple[dict[str, Array], dict[str, Array], Array]:
    """Return the maps, logits and main features of a normalised image."""
    features = self.encoder(x, train)
    return features, *self.decoder(features, train)

  def encode(self, image: Array, train: bool) -> dict[str, Array]:
    """Return the maps of u8[B, H, W, 3]; HRDA's are of the halved image."""
    x = self.normalise(image)
    if self.attention is not None:
      x = hrda.halved(x)
    return self.encoder(x, train)

  def decode(self, features: dict[str, Array], train: bool) -> dict[str, Array]:
    """Map the encoder's maps to the small logits of each head."""
    logits, _ = self.decoder(features, train)
    return logits

  def normalise(self, image: Array) -> Array:
    """Map u8[B, H, W, 3], or floats of the same range, to encoder's input."""
    norm = INPUT_NORMS[self.input_norm]
    x = image.astype(jnp.float32)
    x = (jnp.flip(x, -1) if norm.bgr else x) / norm.scale
    x = (x - jnp.array(norm.mean)) / jnp.array(norm.std)
    return x.astype(self.dtype)


def build(config) -> Segmenter:
  """Return the segmenter of an experiment.

  Args:
    config: reads `model`, `classes`, `bn_mode` and `temperature`.

  Raises:
    UserError: no such encoder, decoder or class space, or they do not fit.
  """
  model = config.model
  encoder = encoders.load(model.encoder.name)
  classes = num_classes(config)
  return Segmenter(
    encoder.build(config),
    decoders.load(model.decoder.name).build(config, classes),
    model.input_norm,
    classes,
    model.align_corners,
    config.temperature,
    jnp.dtype(model.dtype),
    hrda.build_attention(config, classes) if any(model.detail) else None,
    model.detail,
  )


def num_classes(config) -> int:
  """Return how many classes the logits of an experiment have."""
  return len(labels.space(config.classes).classes)


def mean_color(config) -> tuple[float, ...]:
  """Return the RGB, 0 to 255, that the encoder's normalisation maps to 0."""
  norm = INPUT_NORMS[config.model.input_norm]
  color = tuple(norm.scale * mean for mean in norm.mean)
  return color[::-1] if norm.bgr else color


def deepest(config) -> str:
  """Return the name of the encoder's deepest map."""
  return encoders.load(config.model.encoder.name).DEEPEST


def heads(config) -> tuple[str, ...]:
  """Return the names of an experiment's logits, the main head's first."""
  decoder = config.model.decoder
  return decoders.load(decoder.name).heads(decoder)


def main_channels(config) -> int:
  """Return the channels of Outputs.main_features of an experiment."""
  return decoders.load(config.model.decoder.name).main_channels(config)


def sides_divide_by(config) -> int:
  """Return the number by which both sides of each image must be divisible."""
  divisor = encoders.load(config.model.encoder.name).SIDES_DIVIDE_BY
  return 2 * divisor if any(config.model.detail) else divisor


def rng_names(config) -> tuple[str, ...]:
  """Return the names of the random streams that training draws from."""
  model = config.model
  of_encoder = encoders.load(model.encoder.name).RNGS
  of_decoder = decoders.load(model.decoder.name).RNGS
  of_detail = (hrda.RNG,) if any(model.detail) else ()
  return tuple(sorted({*of_encoder, *of_decoder, *of_detail}))


def head_params(params: dict, config) -> dict[str, dict]:
  """Return each head's own parameters, among those of a segmenter."""
  decoder = decoders.load(config.model.decoder.name)
  return decoder.head_params(params['decoder'])


def param_groups(params: dict, config) -> dict:
  """Return the tree of the parameters' groups.

  A group is 'backbone', 'head', or 'frozen' for what is never updated; encoder
  and decoder tell which.

  Args:
    params: the segmenter's, or their shapes.
    config: the experiment's.
  """
  decoder = decoders.load(config.model.decoder.name)
  parts = {
    'encoder': encoders.load(config.model.encoder.name),
    'decoder': decoder,
    'attention': decoder,
  }
  return _map_paths(
    lambda path: parts[path[0]].param_group(path[1:], config), params
  )


def times_listed(params: dict, config) -> dict:
  """Return how often the originals' SGD lists each parameter, as a tree."""
  encoder = encoders.load(config.model.encoder.name)
  return _map_paths(
    lambda path: encoder.times_listed(path[1:]) if path[0] == 'encoder' else 1,
    params,
  )


def _map_paths(function, params):
  """Return the tree of what a function says of each leaf's path.

  Not by flax.traverse_util, which takes what optax masks for leaves.
  """

  def leaf(path, _):
    return function(tuple(key.key for key in path))

  return jax.tree_util.tree_map_with_path(leaf, params)


@functools.cache  # to trace a ResNet-101 takes seconds
def abstract(net: Segmenter) -> dict:
  """Return shapes and types of a network's params and batch_stats."""
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
  init = functools.partial(net.init, train=False)
  return {'batch_stats': {}} | jax.eval_shape(init, jax.random.key(0), image)


def forward(
  net: Segmenter,
  params: dict,
  batch_stats: dict,
  image: Array,
  rngs: dict[str, Array] | None = None,
) -> tuple[Outputs, dict]:
  """Run a training forward pass; return its outputs and new batch statistics.

  Args:
    net: the segmenter.
    params, batch_stats: its variables.
    image: u8[B, H, W, 3], or floats of the same range.
    rngs: a key for each of `rng_names`; None to draw nothing.

  Returns:
    Outputs whose logits are divided by the temperature and upsampled to the
    image's size.
  """
  outputs, updated = net.apply(
    {'params': params, 'batch_stats': batch_stats},
    image,
    train=True,
    mutable=['batch_stats'],
    rngs=rngs,
  )

  logits = {
    head: _upsampled(net, small, image.shape[1:3])
    for head, small in outputs.logits.items()
  }
  detail = outputs.detail
  if detail is not None:
    detail = detail._replace(logits=_upsampled(net, detail.logits, net.detail))
  new_stats = updated.get('batch_stats', batch_stats)
  return outputs.replace(logits=logits, detail=detail), new_stats


def decode(
  net: Segmenter,
  params: dict,
  batch_stats: dict,
  features: dict[str, Array],
  size: Sequence[int],
  rngs: dict[str, Array] | None = None,
) -> dict[str, Array]:
  """Run the decoder alone, as in training; the statistics stay as they are.

  Args:
    net: the segmenter.
    params, batch_stats: its variables.
    features: the encoder's maps.
    size: of the image.
    rngs: a key for each of `rng_names`.

  Returns:
    {head: f32[B, H, W, C]}, as `forward` has them.
  """
  small, _ = net.apply(
    {'params': params, 'batch_stats': batch_stats},
    features,
    train=True,
    mutable=['batch_stats'],
    rngs=rngs,
    method=net.decode,
  )
  return {head: _upsampled(net, x, size) for head, x in small.items()}


def _upsampled(net, small, size):
  """Bring logits to a size, divided by the temperature."""
  return layers.resize(small / net.temperature, size, net.align_corners)
