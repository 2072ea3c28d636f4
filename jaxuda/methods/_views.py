"""What a discriminator is shown: functions of a segmenter's outputs."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxuda.models.segmenter import Outputs

Array = jax.Array

SELF_INFORMATION = ('normalised', 'natural')


def segmentations(outputs: Outputs) -> dict[str, Array]:
  """Return the softmax of each head's logits, {head: f32[B, H, W, C]}."""
  return {h: jax.nn.softmax(logits) for h, logits in outputs.logits.items()}


def information_maps(outputs: Outputs, form: str) -> dict[str, Array]:
  """Return the `self_information` of each head, {head: f32[B, H, W, C]}."""
  return {
    head: self_information(logits, form)
    for head, logits in outputs.logits.items()
  }


def self_information(logits: Array, form: str) -> Array:
  """Return the weighted self-information map of the softmax, per class.

  Args:
    logits: f32[B, H, W, C].
    form: 'normalised', -p log2(p + 1e-30) / log2(C) (ADVENT,
      advent/utils/func.py, prob_2_entropy), or 'natural', h(y) = -y log y
      (ACCV 2020, section 3.1).

  Returns:
    f32[B, H, W, C].
  """
  log_p = jax.nn.log_softmax(logits)
  information = -jnp.exp(log_p) * log_p
  if form == 'normalised':
    return information / jnp.log(logits.shape[-1])
  return information


def patch_corners(
  keys: Array, count: int, size: Sequence[int], patch: int
) -> Array:
  """Draw uniform top-left corners of square patches.

  Args:
    keys: key[B], of the images.
    count: N, patches an image.
    size: (height, width) of the maps.
    patch: side in pixels.

  Returns:
    i32[B, N, 2], row and column.
  """
  limit = jnp.array([s - patch + 1 for s in size])
  return jax.vmap(lambda key: jax.random.randint(key, (count, 2), 0, limit))(
    keys
  )


def crop(maps: Array, corners: Array, patch: int) -> Array:
  """Cut square patches from each map: g of ACCV 2020, Eq. 2.

  Args:
    maps: f[B, H, W, C].
    corners: i32[B, N, 2], row and column of each patch's first pixel.
    patch: side in pixels.

  Returns:
    f[B * N, patch, patch, C], the patches of an image one after the other.
  """

  def cut(one, corner):
    start = (corner[0], corner[1], 0)
    return jax.lax.dynamic_slice(one, start, (patch, patch, one.shape[-1]))

  patches = jax.vmap(jax.vmap(cut, (None, 0)))(maps, corners)
  return patches.reshape(-1, *patches.shape[2:])
