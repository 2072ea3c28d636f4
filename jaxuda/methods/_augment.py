"""Strong augmentation on the device, inside of the step, with fixed shapes."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

_TURN = 2 * np.pi
_ORDERS = np.array(list(itertools.permutations(range(4))))


def color_jitter(images: Array, keys: Array, strength: float) -> Array:
  """Change brightness, contrast, saturation and hue of each image.

  As kornia 0.5.8's ColorJitter, which DACS and DAFormer run: factors are drawn
  from [1 - strength, 1 + strength], the hue's shift from [-strength, strength]
  turns, and the order of the four is drawn for each image.

  Args:
    images: [B, H, W, 3], 0 to 255.
    keys: key[B].
    strength: 0.2 in DACS' recipe within DAFormer's framework.

  Returns:
    f32[B, H, W, 3], 0 to 255.
  """

  def one(image, key):
    of_factors, of_order = jax.random.split(key)
    low, high = 1 - strength, 1 + strength
    factors = jax.random.uniform(of_factors, (4,), minval=low, maxval=high)
    order = jnp.asarray(_ORDERS)[jax.random.randint(of_order, (), 0, 24)]
    operations = (
      lambda x: brightness(x, factors[0]),
      lambda x: contrast(x, factors[1]),
      lambda x: saturation(x, factors[2]),
      lambda x: hue(x, factors[3] - 1),
    )
    image = image.astype(jnp.float32) / 255
    for place in range(4):
      image = jax.lax.switch(order[place], operations, image)
    return image * 255

  return jax.vmap(one)(images, keys)


def brightness(image: Array, factor: Array) -> Array:
  """Add factor - 1 to f32[..., 3] in 0..1."""
  return jnp.clip(image + (factor - 1), 0, 1)


def contrast(image: Array, factor: Array) -> Array:
  """Multiply f32[..., 3] in 0..1 by a factor; not around the mean."""
  return jnp.clip(image * factor, 0, 1)


def saturation(image: Array, factor: Array) -> Array:
  """Multiply the saturation of f32[..., 3] in 0..1 by a factor."""
  h, s, v = _to_hsv(image)
  return _to_rgb(h, jnp.clip(s * factor, 0, 1), v)


def hue(image: Array, turns: Array) -> Array:
  """Shift the hue of f32[..., 3] in 0..1 by a number of turns."""
  h, s, v = _to_hsv(image)
  return _to_rgb(jnp.fmod(h + turns * _TURN, _TURN), s, v)


def _to_hsv(image):
  """Return hue in radians, saturation and value of f32[..., 3] in 0..1."""
  r, g, b = image[..., 0], image[..., 1], image[..., 2]
  v = image.max(-1)
  spread = v - image.min(-1)
  s = spread / (v + 1e-6)
  safe = jnp.where(spread == 0, 1, spread)
  # The first channel that attains the maximum decides.
  sixths = jnp.select(
    [r == v, g == v],
    [(g - b) / safe % 6, (b - r) / safe + 2],
    (r - g) / safe + 4,
  )
  return jnp.where(spread == 0, 0, sixths) / 6 * _TURN, s, v


def _to_rgb(h, s, v):
  """Invert _to_hsv."""
  sixths = jnp.mod(h / _TURN, 1) * 6
  part = sixths - jnp.floor(sixths)
  p, q, t = v * (1 - s), v * (1 - part * s), v * (1 - (1 - part) * s)
  which = jnp.floor(sixths).astype(jnp.int32) % 6
  channels = (
    (v, q, p, p, t, v),
    (t, v, v, q, p, p),
    (p, p, t, v, v, q),
  )
  return jnp.stack(
    [jnp.select([which == i for i in range(6)], c) for c in channels], -1
  )


def blur(images: Array, keys: Array) -> Array:
  """Blur each image by a Gaussian of its own width, from 0.15 to 1.15 pixels.

  As kornia's gaussian_blur2d with a reflecting border. The originals' kernels
  have a tenth of the height, see `blur_taps`; beyond 5 pixels nothing is left
  of the widest Gaussian.

  Args:
    images: f32[B, H, W, 3].
    keys: key[B].
  """
  radius = min(blur_taps(images.shape[1]) // 2, 5)

  def one(image, key):
    sigma = jax.random.uniform(key, (), minval=0.15, maxval=1.15)
    weights = gaussian(sigma, radius)
    return _convolve_rows(
      _convolve_rows(image, weights).swapaxes(0, 1), weights
    )

  return jax.vmap(one)(images, keys).swapaxes(1, 2)


def blur_taps(height: int) -> int:
  """Return the originals' kernel size for images of a height.

  floor(ceil(0.1 H) - 0.5 + ceil(0.1 H) mod 2), an odd number.
  """
  tenth = math.ceil(0.1 * height)
  return math.floor(tenth - 0.5 + tenth % 2)


def gaussian(sigma: Array, radius: int) -> Array:
  """Return f32[2 radius + 1], normalised weights of a Gaussian."""
  at = jnp.arange(-radius, radius + 1)
  weights = jnp.exp(-jnp.square(at / sigma) / 2)
  return weights / weights.sum()


def _convolve_rows(image, weights):
  """Convolve f32[H, W, C] along H, whose border reflects."""
  radius = len(weights) // 2
  wide = jnp.pad(image, ((radius, radius), (0, 0), (0, 0)), 'reflect')
  size = len(image)
  return sum(wide[i : i + size] * w for i, w in enumerate(weights))


def block_mask(
  keys: Array, size: tuple[int, int], block: int, ratio: float
) -> Array:
  """Return what stays visible, bool[B, H, W], of which blocks are hidden.

  A block is hidden by the chance `ratio`; its side is `block` pixels where the
  image's divides by it (MIC, mmseg/models/uda/masking_consistency_module.py:
  a small grid, enlarged by nearest neighbours).
  """
  grid = tuple(max(round(side / block), 1) for side in size)
  drawn = jax.vmap(lambda key: jax.random.uniform(key, grid))(keys)
  rows, columns = (
    jnp.arange(side) * cells // side
    for side, cells in zip(size, grid, strict=True)
  )
  return (drawn > ratio)[:, rows][:, :, columns]
