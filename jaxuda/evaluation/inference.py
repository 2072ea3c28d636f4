"""What a trained network predicts: logits, probabilities, class indices."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxuda.models import layers, windows
from jaxuda.models.ensemble import Ensemble
from jaxuda.models.segmenter import Segmenter
from jaxuda.utils import xla

Array = jax.Array

WINDOW_PIXELS = 2048 * 2048  # of windows that the network sees at once


def protocol(eval_config, **given) -> dict[str, Any]:
  """Return the arguments of `probabilities` that `config.eval` sets.

  Those that are given win, but None.
  """
  keys = ('scales', 'flip', 'average', 'upsample', 'window')
  wins = {key: value for key, value in given.items() if value is not None}
  return {key: eval_config[key] for key in keys} | wins


def segment(
  params: dict | tuple,
  batch_stats: dict | tuple,
  image: Array,
  *,
  net: Segmenter | Ensemble,
  size: tuple[int, int],
  **settings,
) -> tuple[Array, Array]:
  """Return the classes of one image, and how uncertain they are.

  Args:
    params, batch_stats: the segmenter's; of an ensemble a tuple of each.
    image: u8[H, W, 3].
    net: the segmenter, or an ensemble of several.
    size: (h, w) of the result.
    settings: scales, flip and more of `probabilities`.

  Returns:
    u8[h, w] class indices and f32[h, w] entropy in 0..1.
  """
  ids, uncertain = segment_all(
    params, batch_stats, image[None], net=net, size=size, **settings
  )
  return ids[0], uncertain[0]


def segment_all(
  params: dict | tuple, batch_stats: dict | tuple, images: Array, **settings
) -> tuple[Array, Array]:
  """Do the same for several images of one size, u8[B, H, W, 3].

  Returns:
    u8[B, h, w] class indices and f32[B, h, w] entropy in 0..1.
  """
  p = probabilities(params, batch_stats, images, **settings)
  return jnp.argmax(p, -1).astype(jnp.uint8), entropy(p)


@functools.cache
def jitted_segment(net: Segmenter | Ensemble, upsample: str) -> Callable:
  """Return `segment` of the image as it is, compiled once for each size."""
  return xla.jit(
    functools.partial(segment, net=net, upsample=upsample),
    static_argnames='size',
  )


def entropy(p: Array) -> Array:
  """Return the Shannon entropy of f32[..., C] over log C: f32[...] in 0..1."""
  nats = jax.scipy.special.entr(p).sum(-1)
  return jnp.clip(nats / math.log(p.shape[-1]), 0, 1)


def probabilities(
  params: dict | tuple,
  batch_stats: dict | tuple,
  image: Array,
  *,
  net: Segmenter | Ensemble,
  size: tuple[int, int],
  scales: Sequence[float] = (1.0,),
  flip: bool = False,
  average: str = 'probabilities',
  upsample: str = 'logits',
  window: Sequence[int] = (0, 0),
) -> Array:
  """Return class probabilities, averaged over scaled and mirrored inputs.

  Args:
    params, batch_stats: the segmenter's; of an ensemble a tuple of each.
    image: u8[B, H, W, 3].
    net: the segmenter, or an ensemble of several.
    size: (h, w) of the result.
    scales: factors of the input's size; aligned corners, as in FADA (test.py).
    flip: whether each scale is averaged with its mirror image.
    average: of 'probabilities' (FADA), or of 'logits' (CRST, crst_seg.py),
      which is the geometric mean of probabilities up to a factor.
    upsample, window: see `upsampled`.

  Returns:
    f32[B, h, w, C].
  """
  predict = functools.partial(
    one_view,
    params,
    batch_stats,
    net=net,
    size=size,
    upsample=upsample,
    window=window,
  )
  maps = []
  for scale in scales:
    x = image
    if scale != 1.0:
      scaled = [layers.scaled(side, scale) for side in image.shape[1:3]]
      x = layers.resize(image, scaled)
    maps.append(predict(x))
    if flip:
      maps.append(jnp.flip(predict(jnp.flip(x, 2)), 2))
  if average == 'logits':
    return jax.nn.softmax(sum(map(jnp.log, maps)) / len(maps))
  return sum(maps) / len(maps)


def one_view(
  params: dict | tuple,
  batch_stats: dict | tuple,
  image: Array,
  *,
  net: Segmenter | Ensemble,
  size: tuple[int, int],
  upsample: str = 'logits',
  window: Sequence[int] = (0, 0),
) -> Array:
  """Return f32[B, h, w, C], the class probabilities of the image as it is.

  For the arguments see `upsampled`.
  """
  maps = upsampled(
    params,
    batch_stats,
    image,
    net=net,
    size=size,
    upsample=upsample,
    window=window,
  )
  return maps if upsample == 'probabilities' else jax.nn.softmax(maps)


def upsampled(
  params: dict | tuple,
  batch_stats: dict | tuple,
  image: Array,
  *,
  net: Segmenter | Ensemble,
  size: tuple[int, int],
  upsample: str,
  window: Sequence[int] = (0, 0),
) -> Array:
  """Return logits or probabilities at `size`, by the running statistics.

  Args:
    params, batch_stats: the segmenter's; of an ensemble a tuple of each.
    image: u8[B, H, W, 3].
    net: the segmenter; or an ensemble, whose result is the weighted mean of its
      members', each upsampled from its own grid (ADVENT,
      advent/domain_adaptation/eval_UDA.py, eval_single).
    size: (h, w) of the result.
    upsample: the 'logits' (ADVENT, eval_UDA.py), or the 'probabilities' (BDL,
      evaluation.py); borders between classes differ.
    window: (height, width) of windows that overlap by half, whose logits are
      averaged (HRDA); (0, 0) for the image as a whole.

  Returns:
    f32[B, h, w, C].
  """
  if isinstance(net, Ensemble):
    members = zip(net.members, params, batch_stats, strict=True)
    maps = [
      upsampled(
        *variables,
        image,
        net=member,
        size=size,
        upsample=upsample,
        window=window,
      )
      for member, *variables in members
    ]
    return sum(w * x for w, x in zip(net.mix, maps, strict=True))
  small = logits(params, batch_stats, image, net=net, window=window)
  if upsample == 'probabilities':
    small = jax.nn.softmax(small)
  return layers.resize(small, size, net.align_corners)


def logits(
  params: dict,
  batch_stats: dict,
  image: Array,
  *,
  net: Segmenter,
  window: Sequence[int] = (0, 0),
) -> Array:
  """Return f32[B, h, w, C], the logits at the network's own stride.

  With a window they are of the image's size, and averages; see `upsampled`.
  """
  if any(window):

    def of_windows(crops):
      small = logits(params, batch_stats, crops, net=net)
      return layers.resize(small, crops.shape[1:3], net.align_corners)

    def by_parts(crops):
      return windows.by_parts(crops, of_windows, WINDOW_PIXELS)

    stride = [side // 2 for side in window]
    return windows.average(image, window, stride, by_parts)
  variables = {'params': params, 'batch_stats': batch_stats}
  outputs = net.apply(variables, image, train=False)
  return net.decoder.predicted(outputs.logits)
