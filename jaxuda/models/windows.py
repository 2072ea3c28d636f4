"""Overlapping windows of an image, forwarded as one batch and averaged."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxuda.utils.errors import UserError

Array = jax.Array


def starts(side: int, window: int, stride: int) -> list[int]:
  """Return where windows start; the last one ends with the side.

  (mmseg/models/segmentors/encoder_decoder.py, slide_inference.)
  """
  count = max(-(-(side - window) // stride), 0) + 1
  return [min(i * stride, side - window) for i in range(count)]


def average(
  x: Array,
  window: Sequence[int],
  stride: Sequence[int],
  function: Callable[[Array], Array],
) -> Array:
  """Return the mean of what a function says of the windows over each cell.

  Args:
    x: f[B, H, W, C].
    window, stride: (height, width); a window is at most as large as x.
    function: f[n B, h, w, C] -> f[n B, h / s, w / s, K], all windows at once,
      as its batch norm sees them together (HRDA).

  Returns:
    f[B, H / s, W / s, K].

  Raises:
    UserError: a window does not start or end where a cell of the result does.
  """
  size = x.shape[1:3]
  h, w = (min(pair) for pair in zip(window, size, strict=True))
  rows, columns = starts(size[0], h, stride[0]), starts(size[1], w, stride[1])
  places = [(top, left) for top in rows for left in columns]
  crops = [x[:, top : top + h, left : left + w] for top, left in places]
  maps = function(jnp.concatenate(crops))
  cell = cells((h, w), maps.shape[1:3])
  whole = [side // cell for side in size]
  total = jnp.zeros((len(x), *whole, maps.shape[-1]), maps.dtype)
  count = jnp.zeros((*whole, 1), maps.dtype)
  parts = maps.reshape(len(places), len(x), *maps.shape[1:])
  for part, place in zip(parts, places, strict=True):
    if any(start % cell for start in (*place, *size)):
      raise UserError(
        f'windows of {h}x{w} with the strides {stride[0]}x{stride[1]} in '
        f'{size[0]}x{size[1]} do not all start at a multiple of {cell}, the '
        "stride of the network's logits."
      )
    at = tuple(
      slice(start // cell, start // cell + length)
      for start, length in zip(place, part.shape[1:3], strict=True)
    )
    total = total.at[:, *at].add(part)
    count = count.at[at].add(1)
  return total / count


def by_parts(
  crops: Array, function: Callable[[Array], Array], pixels: int
) -> Array:
  """Return what a function says of windows, so many pixels at a time.

  Args:
    crops: f[n, h, w, C].
    function: f[m, h, w, C] -> f[m, ...], each window by itself.
    pixels: at most, of the m windows together; one at least.

  Returns:
    f[n, ...].
  """
  n, h, w, _ = crops.shape
  at_once = max(1, pixels // (h * w))
  if n <= at_once:
    return function(crops)
  parts = -(-n // at_once)
  at_once = -(-n // parts)
  # The last part is filled up with windows of zeros.
  crops = jnp.pad(crops, ((0, parts * at_once - n), *[(0, 0)] * 3))
  crops = crops.reshape(parts, at_once, *crops.shape[1:])
  maps = jax.lax.map(function, crops)
  return maps.reshape(-1, *maps.shape[2:])[:n]


def cells(size: Sequence[int], of_map: Sequence[int]) -> int:
  """Return how many pixels a side of a map's cell has.

  Args:
    size: (height, width) of an image.
    of_map: of what a network made of it.

  Raises:
    UserError: the map has not whole cells.
  """
  cell = size[0] // of_map[0]
  if tuple(cell * side for side in of_map) != tuple(size):
    raise UserError(
      f'of {size[0]}x{size[1]} pixels the network makes '
      f'{of_map[0]}x{of_map[1]} cells, which are not whole: choose a window '
      "(model.detail, eval.window) whose sides divide by the encoder's stride."
    )
  return cell
