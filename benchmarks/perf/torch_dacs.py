"""DACS on EfficientNet-Lite0 with the light decoder, in plain PyTorch.

As configs/dacs.py:streets trains it, written as its authors write theirs
(vikolss/DACS, trainUDA.py): the teacher labels the target without gradients,
half of the source's classes are pasted into it, backward after each loss,
AdamW, then the teacher follows. For the comparison of speed alone: jaxuda does
not use it, and it loads no weights.
"""

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.perf import torch_step
from jaxuda import config as config_lib
from jaxuda import labels
from jaxuda.utils.errors import UserError

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
  'model.encoder.name': 'efficientnet_lite',
  'model.encoder.variant': 'lite0',
  'model.encoder.output_stride': 32,
  'model.decoder.name': 'light',
  'model.decoder.multi_level': False,
  'model.dtype': 'float32',
  'bn_mode': 'batch',
  'ce_reduction': 'pixels',
  'optim.name': 'adamw',
  'teacher.margins': (0, 0),
  'mix.per_image': False,
  'strong.blur': True,
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

  def __init__(self, classes: int, width: int):
    """Make them; `width` is the fused map's channels."""
    super().__init__()
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


def _resize(x, size):
  return F.interpolate(x, size, mode='bilinear', align_corners=False)


class _Loaded(NamedTuple):
  """A batch: images f[B, 3, H, W] in 0 to 1, the source's labels i64."""

  source: torch.Tensor
  label: torch.Tensor
  target: torch.Tensor


class TorchStep:
  """Networks, optimizer and the step of DACS; see torch_step.TorchStep."""

  def __init__(self, config, variant: str, device: str):
    """Make them.

    Args:
      config: an experiment's.
      variant: of torch_step.VARIANTS.
      device: 'cpu' or 'cuda'.

    Raises:
      UserError: something in the config has no PyTorch step here.
    """
    torch_step.check_variant(variant)
    flat = config_lib.flatten(config)
    for key, value in KNOWN.items():
      if flat.get(key) != value:
        raise UserError(f'config.{key}: the PyTorch step of DACS has {value}.')
    self.config, self.device = config, torch.device(device)
    self.classes = len(labels.space(config.classes).classes)
    self.format = (
      torch.contiguous_format if variant == 'eager' else torch.channels_last
    )
    self.student = Segmenter(self.classes, config.model.decoder.width)
    self.student.to(self.device, memory_format=self.format).train()
    self.teacher = copy.deepcopy(self.student).requires_grad_(False)
    o = config.optim
    encoder = [
      *self.student.stem.parameters(),
      *self.student.stages.parameters(),
    ]
    head = [*self.student.levels.parameters(), *self.student.head.parameters()]
    self.optimizer = torch.optim.AdamW(
      [{'params': encoder}, {'params': head, 'lr': o.head_factor * o.lr}],
      o.lr,
      (o.momentum, o.beta2),
      weight_decay=o.weight_decay,
    )
    if variant == 'compile':
      self.student.compile(dynamic=False)
      self.teacher.compile(dynamic=False)
    self.steps = 0

  def load(self, batch: dict) -> _Loaded:
    """Return u8 arrays of jaxuda's batch as tensors on the device."""

    def image(x):
      x = torch.tensor(x).to(self.device).permute(0, 3, 1, 2).float() / 255
      return x.contiguous(memory_format=self.format)

    source = batch['source']
    label = torch.tensor(source['label']).to(self.device).long()
    return _Loaded(
      image(source['image']), label, image(batch['target']['image'])
    )

  def __call__(self, batch: _Loaded) -> dict:
    """Take a step; return {term: loss}, tensors on the device."""
    self.optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
      p = self.teacher(_normal(batch.target)).softmax(1)
      sure, pseudo = p.max(1)
      share = (sure >= self.config.teacher.threshold).float().mean()
      pasted = _class_mix(batch.label, self.classes)
      image = torch.where(pasted[:, None], batch.source, batch.target)
      image = _strong(image, self.config.strong.jitter)
      label = torch.where(pasted, batch.label, pseudo)
      weight = torch.where(pasted, 1.0, share)
    plain = self._cross_entropy(batch.source, batch.label).mean()
    plain.backward()
    mixed = (weight * self._cross_entropy(image, label)).mean()
    mixed.backward()
    self.optimizer.step()
    teacher = self.config.teacher
    keep = min(1 - 1 / (self.steps + teacher.first), teacher.decay)
    with torch.no_grad():
      for old, new in zip(
        self.teacher.parameters(), self.student.parameters(), strict=True
      ):
        old.lerp_(new, 1 - keep)
    self.steps += 1
    return {
      'seg_source_main': plain.detach(),
      'seg_mixed_main': mixed.detach(),
    }

  def _cross_entropy(self, image, label):
    logits = self.student(_normal(image))
    return F.cross_entropy(logits, label, ignore_index=255, reduction='none')


def _normal(image):
  return (image - 127 / 255) / (128 / 255)


def _class_mix(label, classes):
  """Return bool[B, H, W]: pixels of half of the batch's classes, by image."""
  present = label.unique()
  half = (len(present) + 1) // 2
  return torch.stack(
    [
      torch.isin(each, present[torch.randperm(len(present))[:half]])
      for each in label
    ]
  )


def _strong(image, strength):
  """Jitter f[B, 3, H, W] at 4 of 5 steps, blur it at 1 of 2."""
  if torch.rand(()) > 0.2:
    image = torch.stack([_jitter(each, strength) for each in image])
  if torch.rand(()) > 0.5:
    image = _blur(image)
  return image


def _jitter(image, strength):
  """Change the colours of f[3, H, W] in an order that is drawn."""
  b, c, s, h = (1 + strength * (2 * torch.rand(4) - 1)).tolist()
  operations = (
    lambda x: (x + (b - 1)).clamp(0, 1),
    lambda x: (x * c).clamp(0, 1),
    lambda x: _in_hsv(x, s, 0.0),
    lambda x: _in_hsv(x, 1.0, h - 1),
  )
  for i in torch.randperm(4).tolist():
    image = operations[i](image)
  return image


def _in_hsv(image, saturation, turns):
  """Scale the saturation of f[3, H, W] and shift its hue."""
  v, most = image.max(0)
  spread = v - image.amin(0)
  r, g, b = image
  safe = spread.where(spread > 0, torch.ones_like(spread))
  sixths = torch.stack([(g - b) / safe, (b - r) / safe + 2, (r - g) / safe + 4])
  hue = (sixths.gather(0, most[None])[0] / 6 + turns) % 1
  s = (spread / (v + 1e-6) * saturation).clamp(0, 1)
  at = torch.tensor([5.0, 3.0, 1.0], device=image.device)[:, None, None]
  k = (at + hue * 6) % 6
  return v - v * s * torch.minimum(k, 4 - k).clamp(0, 1)


def _blur(image):
  """Blur each image of f[B, 3, H, W] by a width of its own."""
  sigma = 0.15 + torch.rand(len(image), device=image.device)
  at = torch.arange(-5, 6, device=image.device)
  taps = torch.exp(-((at / sigma[:, None]) ** 2) / 2)
  taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(3, 0)
  flat = F.pad(image, (5, 5, 5, 5), mode='reflect').flatten(0, 1)[None]
  groups = len(taps)
  flat = F.conv2d(flat, taps[:, None, :, None], groups=groups)
  flat = F.conv2d(flat, taps[:, None, None, :], groups=groups)
  return flat.view(image.shape)
