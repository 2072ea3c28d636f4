"""HRDA: the whole image at half the resolution, and a crop of it in detail.

(Hoyer et al., ECCV 2022, section 3; mmseg/models/decode_heads/hrda_head.py and
mmseg/models/segmentors/hrda_encoder_decoder.py of lhoyer/HRDA.) One encoder and
one head see both; a second head says of each class how much the detail counts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxuda.models import decoders, layers, windows
from jaxuda.utils.errors import UserError

Array = jax.Array

RNG = 'detail_crop'  # the random stream that training draws the crop from
_STEP = 8  # pixels: cells of the halved image's logits, at stride 4


class Detail(NamedTuple):
  """What is said of the crop alone.

  Attributes:
    logits: f32[B, h, w, C].
    top, left: i32[], of the crop in the image, in pixels.
  """

  logits: Array
  top: Array
  left: Array


def build_attention(config, num_classes: int):
  """Return the head that weighs the detail; of the decoder's kind, but plain.

  Raises:
    UserError: the decoder has two heads.
  """
  decoder = config.model.decoder
  if decoder.get('multi_level'):
    raise UserError(
      'config.model.detail needs config.model.decoder.multi_level=False.'
    )
  module = decoders.load(decoder.name)
  plain = config.copy_and_resolve_references()
  plain.model.decoder.update(getattr(module, 'ATTENTION', {}))
  return module.build(plain, num_classes)


def two_resolutions(net, x: Array, train: bool):
  """Return the fields of Outputs; the Detail is of a training's crop.

  Args:
    net: a bound segmenter with `attention` and `detail`.
    x: f[B, H, W, 3], normalised; H and W are even.
    train: whether batch norm updates its statistics.

  Returns:
    {'main': f32[B, h, w, C]}, the fused logits; the encoder's maps of the
    halved image, and what the main head reads of them; the Detail, or None
    where the module has no random stream: a teacher, and an evaluation, slide
    over the whole image.

  Raises:
    UserError: the crop is not of whole cells of the logits.
  """
  features, logits, read = net.one_resolution(halved(x), train)
  context = logits['main']
  attention = jax.nn.sigmoid(net.attention(features, train)[0]['main'])

  def detailed(image):
    return net.one_resolution(image, train)[1]['main']

  if not net.has_rng(RNG):
    stride = [side // 2 for side in net.detail]
    high = windows.average(x, net.detail, stride, detailed)
    return {'main': fuse(context, attention, high)}, features, read, None
  top, left = crop_place(net.make_rng(RNG), x.shape[1:3], net.detail)
  crop = jax.lax.dynamic_slice(
    x, (0, top, left, 0), (len(x), *net.detail, x.shape[-1])
  )
  detail = Detail(detailed(crop), top, left)
  fused = fuse_crop(context, attention, detail, net.detail)
  return {'main': fused}, features, read, detail


def halved(x: Array) -> Array:
  """Return f[B, H, W, C] at half the resolution: means of four pixels."""
  half = [side // 2 for side in x.shape[1:3]]
  return layers.resize(x, half, align_corners=False).astype(x.dtype)


def crop_place(key: Array, size, detail) -> tuple[Array, Array]:
  """Draw the top and left of the crop that a whole batch shares.

  Multiples of 8 below what is left of the size: 0, 8, ..., 504 of 1024, never
  512 (hrda_encoder_decoder.py, get_crop_bbox).
  """
  choices = jnp.array(
    [
      max((whole - part + 1) // _STEP, 1)
      for whole, part in zip(size, detail, strict=True)
    ]
  )
  top, left = _STEP * jax.random.randint(key, (2,), 0, choices)
  return top, left


def fuse(context: Array, attention: Array, high: Array) -> Array:
  """Return up(attention) high + up((1 - attention) context).

  The products come before the enlargement, as in the code.

  Args:
    context, attention: f32[B, h, w, C], of the halved image.
    high: f32[B, 2h, 2w, C], of the image.
  """
  size = high.shape[1:3]
  up = layers.resize(attention, size, align_corners=False)
  rest = layers.resize((1 - attention) * context, size, align_corners=False)
  return up * high + rest


def fuse_crop(context, attention, detail: Detail, size) -> Array:
  """Return `fuse` where the detail is known inside of a crop of `size` alone.

  Outside of it the attention is 0. Its border on the coarser grid is rounded
  down where it lies within a cell.
  """
  h, w = context.shape[1:3]
  cell = windows.cells(size, detail.logits.shape[1:3])
  inside = jnp.ones((1, 1), bool)
  for axis, (start, length) in enumerate(
    zip((detail.top, detail.left), size, strict=True)
  ):
    at = jnp.arange((h, w)[axis])
    low, high = start // (2 * cell), (start + length) // (2 * cell)
    of_axis = (at >= low) & (at < high)
    inside &= jnp.expand_dims(of_axis, 1 - axis)
  attention = jnp.where(inside[..., None], attention, 0)
  empty = jnp.zeros((len(context), 2 * h, 2 * w, context.shape[-1]))
  place = (0, detail.top // cell, detail.left // cell, 0)
  inserted = jax.lax.dynamic_update_slice(empty, detail.logits, place)
  return fuse(context, attention, inserted)
