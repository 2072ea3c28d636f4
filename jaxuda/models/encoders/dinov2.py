"""DINOv2: plain vision transformers S, B and L with patches of 14 pixels.

(Oquab et al., TMLR 2024; facebookresearch/dinov2, models/vision_transformer.py,
and hub/backbones.py for the four register tokens of Darcet et al., ICLR 2024.)
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxuda.models import layers, torch_names
from jaxuda.models.torch_names import Layout
from jaxuda.utils.settings import Setting

Array = jax.Array


class _Size(NamedTuple):
  """Of one transformer."""

  width: int
  depth: int
  heads: int


_SIZES = {
  's': _Size(384, 12, 6),
  'b': _Size(768, 12, 12),
  'l': _Size(1024, 24, 16),
}
PATCH = 14
_TRAINED = 37  # patches a side of the images that it was trained on, of 518
_REGISTERS = 4
_EXPANSION = 4

SETTINGS = {
  'size': Setting('b', 'its width and depth', tuple(_SIZES)),
  'registers': Setting(False, 'whether it has four register tokens'),
  'scale': Setting(
    1.1,
    'of the image before it is cut down to whole patches: 1024 becomes 1120 '
    '(VFM-UDA); 1 for patches of the image as it is',
    least=0.1,
  ),
}
INPUT_NORM = 'torchvision'
DECODER = 'vfm_uda'
SIDES_DIVIDE_BY = 1
DEEPEST = 'patches'
RNGS = ()

_dense = partial(nn.Dense, kernel_init=nn.initializers.truncated_normal(0.02))
_norm = partial(nn.LayerNorm, 1e-6, use_fast_variance=False)


class Attention(nn.Module):
  """Self-attention among all tokens.

  Attributes:
    heads: of the attention.
    dtype: compute type.
  """

  heads: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, N, C] to f[B, N, C]."""
    b, n, c = x.shape
    qkv = _dense(3 * c, dtype=self.dtype, name='qkv')(x)
    q, k, v = jnp.moveaxis(
      qkv.reshape(b, n, 3, self.heads, c // self.heads), 2, 0
    )
    y = jax.nn.dot_product_attention(q, k, v).reshape(b, n, c)
    return _dense(c, dtype=self.dtype, name='proj')(y)


class FeedForward(nn.Module):
  """Two dense layers around a GELU.

  Attributes:
    dtype: compute type.
  """

  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, N, C] to f[B, N, C]."""
    y = _dense(_EXPANSION * x.shape[-1], dtype=self.dtype, name='fc1')(x)
    y = nn.gelu(y, approximate=False)
    return _dense(x.shape[-1], dtype=self.dtype, name='fc2')(y)


class LayerScale(nn.Module):
  """A factor for each channel."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, N, C] to f[B, N, C]."""
    gamma = layers.param(self, 'gamma', nn.initializers.ones, x.shape[-1:])
    return x * gamma.astype(x.dtype)


class Block(nn.Module):
  """Attention and feed-forward network: x + scale f(norm(x)), twice.

  Attributes:
    heads: of the attention.
    dtype: compute type.
  """

  heads: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, N, C] to f[B, N, C]."""
    norm = partial(_norm, dtype=self.dtype)
    y = Attention(self.heads, self.dtype, name='attn')(norm(name='norm1')(x))
    x = x + LayerScale(name='ls1')(y)
    y = FeedForward(self.dtype, name='mlp')(norm(name='norm2')(x))
    return x + LayerScale(name='ls2')(y)


class Encoder(nn.Module):
  """Patches, a class token and perhaps registers through all blocks.

  Attributes:
    size: 's', 'b' or 'l'.
    registers: whether there are four register tokens.
    scale: of the image, see SETTINGS.
    dtype: compute type.
    remat: whether activations inside a block are recomputed.
  """

  size: str
  registers: bool
  scale: float
  dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool) -> dict[str, Array]:
    """Map f[B, H, W, 3] to the last block's patches, at stride 14 / scale."""
    del train  # nothing here behaves differently
    width, depth, heads = _SIZES[self.size]
    sides = [patches(side, self.scale) * PATCH for side in x.shape[1:3]]
    if tuple(sides) != x.shape[1:3]:
      x = layers.resize(x, sides, align_corners=False).astype(self.dtype)
    x = layers.Conv(
      width, PATCH, PATCH, use_bias=True, dtype=self.dtype, name='patch_embed'
    )(x)
    b, h, w, _ = x.shape
    position = self._parameter('pos_embed', 1 + _TRAINED**2)
    table = position[0, 1:].reshape(_TRAINED, _TRAINED, width)
    x = x + interpolate(table, (h, w), self.registers).astype(x.dtype)
    tokens = [self._parameter('cls_token', 1) + position[:, :1]]
    if self.registers:
      tokens.append(self._parameter('register_tokens', _REGISTERS))
    before = jnp.concatenate(tokens, 1)
    # Of its training alone, but a file without it would not be DINOv2's.
    layers.param(self, 'mask_token', nn.initializers.zeros, (1, width))
    first = jnp.broadcast_to(before, (b, *before.shape[1:])).astype(x.dtype)
    x = jnp.concatenate([first, x.reshape(b, h * w, width)], 1)
    block = nn.remat(Block) if self.remat else Block
    for i in range(depth):
      x = block(heads, self.dtype, name=f'blocks_{i}')(x)
    x = _norm(dtype=self.dtype, name='norm')(x)
    # Not by an index, which of any size would be a gather.
    x = jax.lax.slice_in_dim(x, before.shape[1], None, axis=1)
    return {DEEPEST: x.reshape(b, h, w, width)}

  def _parameter(self, name, tokens):
    init = nn.initializers.truncated_normal(0.02)
    return layers.param(self, name, init, (1, tokens, _SIZES[self.size].width))


def patches(side: int, scale: float) -> int:
  """Return how many patches a side of so many pixels has, one at least."""
  return jax.core.max_dim(layers.scaled(side, scale) // PATCH, 1)


def interpolate(table: Array, size: tuple[int, int], registers: bool) -> Array:
  """Resize the positions' embeddings f[37, 37, C] to f[*size, C], bicubically.

  Without registers the original tells torch a factor of (n + 0.1) / 37, by
  which torch then reads the table, and border cells stand for what is beyond
  them. With registers it tells the size, and torch filters as Pillow does.
  """
  if size == table.shape[:2]:
    return table
  rows, columns = (_bicubic(n, registers) for n in size)
  if any(map(export.is_symbolic_dim, size)):
    same = (jnp.array(size[0]) == _TRAINED) & (jnp.array(size[1]) == _TRAINED)
    rows, columns = (
      jnp.where(same, jnp.eye(n, _TRAINED), weights)
      for n, weights in zip(size, (rows, columns), strict=True)
    )
  precision = jax.lax.Precision.HIGHEST
  x = jnp.einsum('hwc,Hh->Hwc', table, rows, precision=precision)
  return jnp.einsum('Hwc,Ww->HWc', x, columns, precision=precision)


def _bicubic(size: int, antialias: bool) -> np.ndarray | Array:
  """Return f32[size, 37], the weight of each cell in each of `size` points."""
  # A size that is known when it runs alone is no number for NumPy.
  np_ = jnp if export.is_symbolic_dim(size) else np
  step = _TRAINED / (size if antialias else size + 0.1)
  at = ((np_.arange(size) + 0.5) * step - 0.5)[:, None]
  cells = np.arange(_TRAINED)
  if antialias:
    width = np_.maximum(step, 1.0)  # of the filter, which grows as maps shrink
    weights = _cubic((cells - at) / width, -0.5, np_)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
  first = np_.floor(at).astype(int) - 1
  weights = sum(
    _cubic(cell - at, -0.75, np_) * (np_.clip(cell, 0, _TRAINED - 1) == cells)
    for cell in (first + i for i in range(4))
  )
  return weights.astype(np.float32)


def _cubic(distance, a, np_=np):
  """Return Keys' cubic convolution kernel (1981) with the parameter a."""
  x = np_.abs(distance)
  near = ((a + 2) * x - (a + 3)) * x * x + 1
  far = ((x - 5) * x + 8) * x * a - 4 * a
  return np_.where(x <= 1, near, np_.where(x < 2, far, 0.0))


def build(config) -> Encoder:
  """Return the encoder that `config.model` describes."""
  model, e = config.model, config.model.encoder
  return Encoder(
    e.size, e.registers, e.scale, jnp.dtype(model.dtype), model.remat
  )


def channels(encoder_config) -> dict[str, int]:
  """Return the channels of the one map that the encoder gives."""
  return {DEEPEST: _SIZES[encoder_config.size].width}


def param_group(path: tuple[str, ...], config) -> str:
  """Return a parameter's group; nothing reads the mask's token."""
  del config
  return 'frozen' if path == ('mask_token',) else 'backbone'


def times_listed(path: tuple[str, ...]) -> int:
  """Return how often the originals' SGD lists a parameter: once."""
  del path
  return 1


LAYOUTS = (
  Layout(
    'dinov2',
    "DINOv2's encoders, with and without registers",
    (r'cls_token', r'blocks\.0\.ls1\.gamma'),
    torch_names.in_order((r'patch_embed\.', 'patch_embed.proj.')),
    {},
    torch_names.HEADLESS,
    settings={'input_norm': 'torchvision'},
  ),
)
