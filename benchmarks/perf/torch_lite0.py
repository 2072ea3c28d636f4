"""EfficientNet-Lite0 with the light decoder, in plain PyTorch.

As jaxuda/models/encoders/efficientnet_lite.py and decoders/light.py compute
them. For the comparison of speed alone: jaxuda does not use it.
"""

import torch
from torch import nn
from torch.nn import functional as F

# Of the stages: blocks, kernel, stride, expansion, channels (Google's Lite0).
_STAGES = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)
_READ = (1, 2, 4, 6)  # the last stage of each size
KNOWN = {
  'model.encoder.variant': 'lite0',
  'model.encoder.output_stride': 32,
  'model.decoder.name': 'light',
  'model.decoder.multi_level': False,
}


class _Same(nn.Conv2d):
  """A convolution with TensorFlow's padding: what is odd of it comes last."""

  def forward(self, x):
    """Map f[B, C, H, W] to a map of ceil(size / stride)."""
    k, stride = self.kernel_size[0], self.stride[0]
    totals = [
      max((-(-n // stride) - 1) * stride + k - n, 0) for n in x.shape[2:]
    ]
    (top, left) = (total // 2 for total in totals)
    (bottom, right) = (total - total // 2 for total in totals)
    return super().forward(F.pad(x, (left, right, top, bottom)))


def _norm(channels):
  return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Block(nn.Module):
  """An inverted bottleneck."""

  def __init__(self, inputs, kernel, stride, expansion, outputs):
    super().__init__()
    wide, layers = inputs * expansion, []
    if expansion != 1:
      conv = nn.Conv2d(inputs, wide, 1, bias=False)
      layers += [conv, _norm(wide), nn.ReLU6(inplace=True)]
    self.layers = nn.Sequential(
      *layers,
      _Same(wide, wide, kernel, stride, groups=wide, bias=False),
      _norm(wide),
      nn.ReLU6(inplace=True),
      nn.Conv2d(wide, outputs, 1, bias=False),
      _norm(outputs),
    )
    self.fits = stride == 1 and inputs == outputs

  def forward(self, x):
    """Map f[B, c, H, W] to f[B, outputs, H / stride, W / stride]."""
    y = self.layers(x)
    return x + y if self.fits else y


class Segmenter(nn.Module):
  """Encoder and decoder."""

  def __init__(self, model, classes: int):
    """Make them of `config.model`."""
    super().__init__()
    width = model.decoder.width
    self.stem = nn.Sequential(
      _Same(3, 32, 3, 2, bias=False), _norm(32), nn.ReLU6(inplace=True)
    )
    self.stages, inputs = nn.ModuleList(), 32
    for blocks, kernel, stride, expansion, outputs in _STAGES:
      stage = []
      for i in range(blocks):
        own = stride if i == 0 else 1
        stage.append(_Block(inputs, kernel, own, expansion, outputs))
        inputs = outputs
      self.stages.append(nn.Sequential(*stage))
    half = width // 2
    self.levels = nn.ModuleList(
      nn.Sequential(
        nn.Conv2d(_STAGES[n][4], half, 1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
      )
      for n in _READ
    )
    self.head = nn.Sequential(
      nn.Conv2d(len(_READ) * half, width, 3, padding=1, bias=False),
      nn.BatchNorm2d(width),
      nn.ReLU(inplace=True),
      nn.Conv2d(width, classes, 1),
    )

  def forward(self, x):
    """Map f[B, 3, H, W] to logits of the same size."""
    size, maps, x = x.shape[2:], [], self.stem(x)
    for n, stage in enumerate(self.stages):
      x = stage(x)
      if n in _READ:
        maps.append(self.levels[len(maps)](x))
    maps = [_resize(each, maps[0].shape[2:]) for each in maps]
    return _resize(self.head(torch.cat(maps, 1)), size)

  def groups(self) -> tuple[list, list, list]:
    """Return parameters: the encoder's, undecayed ones (none), the head's."""
    encoder = [*self.stem.parameters(), *self.stages.parameters()]
    return encoder, [], [*self.levels.parameters(), *self.head.parameters()]


def _resize(x, size):
  return F.interpolate(x, size, mode='bilinear', align_corners=False)
