"""Mix Transformers and DAFormer's head, in plain PyTorch.

As jaxuda/models/encoders/mit.py and decoders/daformer.py compute them, with the
names of their authors' files. For the comparison of speed alone: jaxuda does
not use it.
"""

import torch
from torch import nn
from torch.nn import functional as F

from jaxuda.models.encoders import mit

# Blocks of the stages; heads, and how much smaller the attention's map is.
_BLOCKS = {
  'b0': (2, 2, 2, 2),
  'b1': (2, 2, 2, 2),
  'b2': (3, 4, 6, 3),
  'b3': (3, 4, 18, 3),
  'b4': (3, 8, 27, 3),
  'b5': (3, 6, 40, 3),
}
_HEADS, _REDUCTIONS = (1, 2, 5, 8), (8, 4, 2, 1)
_PATCHES = ((7, 4), (3, 2), (3, 2), (3, 2))  # kernel and stride
KNOWN = {
  'model.decoder.name': 'daformer',
  'model.decoder.fusion': 'aspp',
  'model.decoder.multi_level': False,
}


def _tokens(x):
  return x.flatten(2).transpose(1, 2)


def _map(tokens, size):
  return tokens.transpose(1, 2).unflatten(2, size)


def _drop_path(x, rate, training):
  """Leave f[B, N, C] out of some images, and enlarge the others."""
  if not rate or not training:
    return x
  keep = torch.rand(len(x), 1, 1, device=x.device) >= rate
  return x * keep / (1 - rate)


class _Attention(nn.Module):
  """Attention to a smaller map."""

  def __init__(self, channels, heads, reduction):
    super().__init__()
    self.heads = heads
    self.q = nn.Linear(channels, channels)
    self.kv = nn.Linear(channels, 2 * channels)
    self.proj = nn.Linear(channels, channels)
    self.sr = None
    if reduction > 1:
      self.sr = nn.Conv2d(channels, channels, reduction, reduction)
      self.norm = nn.LayerNorm(channels)

  def forward(self, x, size):
    """Map f[B, N, C] of a map of that size to the same."""
    read = x
    if self.sr is not None:
      read = self.norm(_tokens(self.sr(_map(x, size))))
    q = self._by_head(self.q(x))
    k, v = map(self._by_head, self.kv(read).chunk(2, -1))
    y = F.scaled_dot_product_attention(q, k, v)
    return self.proj(y.transpose(1, 2).flatten(2))

  def _by_head(self, x):
    return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class _DepthwiseConv(nn.Module):
  """The convolution inside of the feed-forward network."""

  def __init__(self, channels):
    super().__init__()
    self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

  def forward(self, x, size):
    """Map f[B, N, C] to the same."""
    return _tokens(self.dwconv(_map(x, size)))


class _MLP(nn.Module):
  """The feed-forward network."""

  def __init__(self, channels):
    super().__init__()
    self.fc1 = nn.Linear(channels, 4 * channels)
    self.dwconv = _DepthwiseConv(4 * channels)
    self.fc2 = nn.Linear(4 * channels, channels)

  def forward(self, x, size):
    """Map f[B, N, C] to the same."""
    return self.fc2(F.gelu(self.dwconv(self.fc1(x), size)))


class _Block(nn.Module):
  """Attention and feed-forward network."""

  def __init__(self, channels, heads, reduction, rate):
    super().__init__()
    self.norm1 = nn.LayerNorm(channels, 1e-6)
    self.attn = _Attention(channels, heads, reduction)
    self.norm2 = nn.LayerNorm(channels, 1e-6)
    self.mlp = _MLP(channels)
    self.rate = rate

  def forward(self, x, size):
    """Map f[B, N, C] to the same."""
    y = self.attn(self.norm1(x), size)
    x = x + _drop_path(y, self.rate, self.training)
    y = self.mlp(self.norm2(x), size)
    return x + _drop_path(y, self.rate, self.training)


class _Patches(nn.Module):
  """Overlapping patches."""

  def __init__(self, inputs, channels, kernel, stride):
    super().__init__()
    self.proj = nn.Conv2d(inputs, channels, kernel, stride, kernel // 2)
    self.norm = nn.LayerNorm(channels)

  def forward(self, x):
    """Map f[B, c, H, W] to tokens f[B, N, C] and their map's size."""
    x = self.proj(x)
    return self.norm(_tokens(x)), x.shape[2:]


class _Encoder(nn.Module):
  """The four stages."""

  def __init__(self, channels, blocks, drop_path):
    super().__init__()
    rates = iter(torch.linspace(0, drop_path, sum(blocks)).tolist())
    for i, (inputs, c) in enumerate(
      zip((3, *channels), channels, strict=False), 1
    ):
      setattr(self, f'patch_embed{i}', _Patches(inputs, c, *_PATCHES[i - 1]))
      stage = [
        _Block(c, _HEADS[i - 1], _REDUCTIONS[i - 1], next(rates))
        for _ in range(blocks[i - 1])
      ]
      setattr(self, f'block{i}', nn.ModuleList(stage))
      setattr(self, f'norm{i}', nn.LayerNorm(c, 1e-6))

  def forward(self, x):
    """Map f[B, 3, H, W] to the maps of all stages."""
    maps = []
    for i in range(1, 5):
      x, size = getattr(self, f'patch_embed{i}')(x)
      for block in getattr(self, f'block{i}'):
        x = block(x, size)
      x = _map(getattr(self, f'norm{i}')(x), size)
      maps.append(x)
    return maps


class _ConvNorm(nn.Module):
  """A convolution, a batch norm and a ReLU."""

  def __init__(self, inputs, outputs, kernel, dilation=1, groups=1):
    super().__init__()
    padding = dilation * (kernel // 2)
    self.conv = nn.Conv2d(
      *(inputs, outputs, kernel, 1, padding, dilation, groups), bias=False
    )
    self.bn = nn.BatchNorm2d(outputs)

  def forward(self, x):
    """Map f[B, c, H, W] to f[B, outputs, H, W]."""
    return F.relu(self.bn(self.conv(x)))


class _Separable(nn.Module):
  """A dilated depthwise convolution and a pointwise one."""

  def __init__(self, inputs, outputs, dilation):
    super().__init__()
    self.depthwise_conv = _ConvNorm(inputs, inputs, 3, dilation, inputs)
    self.pointwise_conv = _ConvNorm(inputs, outputs, 1)

  def forward(self, x):
    """Map f[B, c, H, W] to f[B, outputs, H, W]."""
    return self.pointwise_conv(self.depthwise_conv(x))


class _Fusion(nn.Module):
  """The separable ASPP."""

  def __init__(self, inputs, width, dilations):
    super().__init__()
    self.aspp_modules = nn.ModuleList(
      _ConvNorm(inputs, width, 1) if d == 1 else _Separable(inputs, width, d)
      for d in dilations
    )
    self.bottleneck = _ConvNorm(len(dilations) * width, width, 3)

  def forward(self, x):
    """Map f[B, c, H, W] to f[B, width, H, W]."""
    return self.bottleneck(torch.cat([m(x) for m in self.aspp_modules], 1))


class _Embedding(nn.Module):
  """A level's channels as the head's."""

  def __init__(self, inputs, width):
    super().__init__()
    self.proj = nn.Linear(inputs, width)

  def forward(self, x):
    """Map f[B, c, H, W] to f[B, width, H, W]."""
    return _map(self.proj(_tokens(x)), x.shape[2:])


class _Head(nn.Module):
  """All levels on the finest one's grid, fused and classified."""

  def __init__(self, channels, decoder, classes):
    super().__init__()
    width = decoder.width
    self.embed_layers = nn.ModuleList(_Embedding(c, width) for c in channels)
    self.fuse_layer = _Fusion(
      len(channels) * width, width, tuple(decoder.dilations)
    )
    self.dropout = nn.Dropout2d(decoder.dropout)
    self.conv_seg = nn.Conv2d(width, classes, 1)

  def forward(self, maps):
    """Map the encoder's maps to logits of the finest one's size."""
    size = maps[0].shape[2:]
    levels = [
      F.interpolate(embed(x), size, mode='bilinear', align_corners=False)
      for embed, x in zip(self.embed_layers, maps, strict=True)
    ]
    fused = self.fuse_layer(torch.cat(levels, 1))
    return self.conv_seg(self.dropout(fused))


class Segmenter(nn.Module):
  """Encoder and head; the names are those of DAFormer's files."""

  def __init__(self, model, classes: int):
    """Make them of `config.model`."""
    super().__init__()
    e = model.encoder
    channels = tuple(mit.channels(e).values())
    self.backbone = _Encoder(channels, _BLOCKS[e.size], e.drop_path)
    self.decode_head = _Head(channels, model.decoder, classes)

  def forward(self, x):
    """Map f[B, 3, H, W] to logits of the same size."""
    logits = self.decode_head(self.backbone(x))
    return F.interpolate(
      logits, x.shape[2:], mode='bilinear', align_corners=False
    )

  def groups(self) -> tuple[list, list, list]:
    """Return parameters: the encoder's, its norms', which nothing decays, and
    the head's."""
    norms, others = [], []
    for name, p in self.backbone.named_parameters():
      (norms if 'norm' in name else others).append(p)
    return others, norms, list(self.decode_head.parameters())
