"""Mix Transformer, MiT-B0 to B5: SegFormer's encoder, and DAFormer's.

(Xie et al., NeurIPS 2021, section 3.1.) Four stages; each embeds overlapping
patches, and its attention reads tokens that a strided convolution has reduced.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxuda.models import layers, torch_names
from jaxuda.models.torch_names import Layout
from jaxuda.utils.settings import Setting

Array = jax.Array


class _Size(NamedTuple):
  """Channels and blocks of the four stages."""

  channels: tuple[int, ...]
  blocks: tuple[int, ...]


_WIDE = (64, 128, 320, 512)
_SIZES = {
  'b0': _Size((32, 64, 160, 256), (2, 2, 2, 2)),
  'b1': _Size(_WIDE, (2, 2, 2, 2)),
  'b2': _Size(_WIDE, (3, 4, 6, 3)),
  'b3': _Size(_WIDE, (3, 4, 18, 3)),
  'b4': _Size(_WIDE, (3, 8, 27, 3)),
  'b5': _Size(_WIDE, (3, 6, 40, 3)),
}
_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)  # of the sides of what the attention reads
_EXPANSION = 4  # of the channels inside of the feed-forward network
_PATCHES = ((7, 4), (3, 2), (3, 2), (3, 2))  # kernel and stride
_STAGES = tuple(f'stage{n}' for n in range(1, 5))

SETTINGS = {
  'size': Setting('b5', 'its width and depth', tuple(_SIZES)),
  'drop_path': Setting(
    0.1,
    "chance that a block's branch is left out, of the last block; from 0 on",
    least=0.0,
    most=0.9,
  ),
}
INPUT_NORM = 'torchvision'
DECODER = 'daformer'
SIDES_DIVIDE_BY = 1
DEEPEST = 'stage4'
RNGS = ('drop_path',)

_dense = partial(nn.Dense, kernel_init=nn.initializers.truncated_normal(0.02))


def _norm(epsilon, dtype, name):
  return nn.LayerNorm(epsilon, dtype, use_fast_variance=False, name=name)


def _conv(features, kernel, stride, padding, dtype, name):
  return layers.Conv(
    features,
    kernel,
    stride,
    padding,
    use_bias=True,
    kernel_init=layers.kaiming(kernel * kernel * features),
    bias_init=nn.initializers.zeros,
    dtype=dtype,
    name=name,
  )


class Attention(nn.Module):
  """Self-attention whose keys and values are of a smaller map.

  Attributes:
    heads: of the attention.
    reduction: how much smaller that map's sides are.
    dtype: compute type.
  """

  heads: int
  reduction: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, C] to f[B, H, W, C]."""
    b, h, w, c = x.shape
    of_head = (self.heads, c // self.heads)
    q = _dense(c, dtype=self.dtype, name='q')(x).reshape(b, h * w, *of_head)
    read = x
    if self.reduction > 1:
      r = self.reduction
      read = _conv(c, r, r, 0, self.dtype, 'sr')(x)
      read = _norm(1e-5, self.dtype, 'norm')(read)
    kv = _dense(2 * c, dtype=self.dtype, name='kv')(read)
    k, v = jnp.moveaxis(kv.reshape(b, -1, 2, *of_head), 2, 0)
    y = jax.nn.dot_product_attention(q, k, v).reshape(b, h, w, c)
    return _dense(c, dtype=self.dtype, name='proj')(y)


class MixFFN(nn.Module):
  """A feed-forward network with a depthwise convolution inside.

  Attributes:
    dtype: compute type.
  """

  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, C] to f[B, H, W, C]."""
    wide = _EXPANSION * x.shape[-1]
    y = _dense(wide, dtype=self.dtype, name='fc1')(x)
    y = layers.Conv(
      wide,
      3,
      padding=1,
      depthwise=True,
      use_bias=True,
      kernel_init=layers.kaiming(9),
      bias_init=nn.initializers.zeros,
      dtype=self.dtype,
      name='dwconv',
    )(y)
    y = nn.gelu(y, approximate=False)
    return _dense(x.shape[-1], dtype=self.dtype, name='fc2')(y)


class Block(nn.Module):
  """Attention and feed-forward network, each behind a norm and in a sum.

  Attributes:
    heads, reduction: of the attention.
    drop_path: chance that a branch is left out of an image in training.
    dtype: compute type.
  """

  heads: int
  reduction: int
  drop_path: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, C] to f[B, H, W, C]."""
    drop = partial(layers.drop_path, self, rate=self.drop_path)
    norm = partial(_norm, 1e-6, self.dtype)
    attention = Attention(self.heads, self.reduction, self.dtype, name='attn')
    x = x + drop(attention(norm('norm1')(x)))
    return x + drop(MixFFN(self.dtype, name='mlp')(norm('norm2')(x)))


class PatchEmbedding(nn.Module):
  """Overlapping patches, as a strided convolution.

  Attributes:
    features, kernel, stride: of the convolution.
    dtype: compute type.
  """

  features: int
  kernel: int
  stride: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, c] to f[B, H / stride, W / stride, features]."""
    k, s = self.kernel, self.stride
    x = _conv(self.features, k, s, k // 2, self.dtype, 'proj')(x)
    return _norm(1e-5, self.dtype, 'norm')(x)


class Encoder(nn.Module):
  """Four stages; each gives its map behind a norm.

  Attributes:
    size: 'b0' to 'b5'.
    drop_path: of the last block; it grows evenly from 0.
    dtype: compute type.
    remat: whether activations inside a block are recomputed.
  """

  size: str
  drop_path: float
  dtype: jnp.dtype = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool) -> dict[str, Array]:
    """Map f[B, H, W, 3] to the stages' maps at strides 4, 8, 16 and 32."""
    channels, blocks = _SIZES[self.size]
    rates = iter(np.linspace(0, self.drop_path, sum(blocks)) * bool(train))
    block = nn.remat(Block) if self.remat else Block
    maps = {}
    for i, stage in enumerate(_STAGES):
      embed = PatchEmbedding(
        channels[i], *_PATCHES[i], self.dtype, name=f'patch_embed{i + 1}'
      )
      x = embed(x)
      for j in range(blocks[i]):
        name = f'block{i + 1}_{j}'
        x = block(
          _HEADS[i], _REDUCTIONS[i], float(next(rates)), self.dtype, name=name
        )(x)
      x = _norm(1e-6, self.dtype, f'norm{i + 1}')(x)
      maps[stage] = x
    return maps


def build(config) -> Encoder:
  """Return the encoder that `config.model` describes."""
  model, e = config.model, config.model.encoder
  return Encoder(e.size, e.drop_path, jnp.dtype(model.dtype), model.remat)


def channels(encoder_config) -> dict[str, int]:
  """Return the channels of each map that the encoder gives."""
  sizes = _SIZES[encoder_config.size].channels
  return dict(zip(_STAGES, sizes, strict=True))


def param_group(path: tuple[str, ...], config) -> str:
  """Return a parameter's group; norms are not decayed."""
  del config
  return 'no_decay' if any('norm' in name for name in path) else 'backbone'


def times_listed(path: tuple[str, ...]) -> int:
  """Return how often the originals' SGD lists a parameter: once."""
  del path
  return 1


LAYOUTS = (
  Layout(
    'mit',
    "SegFormer's ImageNet encoders, mit_b0.pth to mit_b5.pth",
    (r'patch_embed1\.proj\.weight', r'block1\.0\.attn\.q\.weight'),
    # mmcv's Conv2d stands inside of a module of the same name.
    torch_names.in_order((r'(.*\.mlp\.dwconv\.)', r'\1dwconv.')),
    {r'head\.': "ImageNet's classifier"},
    torch_names.HEADLESS,
    settings={'input_norm': 'torchvision'},
  ),
)
