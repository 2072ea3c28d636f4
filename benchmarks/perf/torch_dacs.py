"""DACS on EfficientNet-Lite0 or a Mix Transformer, in plain PyTorch.

As configs/dacs.py trains it, written as its authors write theirs
(vikolss/DACS, trainUDA.py): the teacher labels the target without gradients,
half of the source's classes are pasted into it, backward after each loss,
AdamW, then the teacher follows. For the comparison of speed alone: jaxuda does
not use it, and it loads no weights.
"""

import copy
from typing import NamedTuple

import torch
from torch.nn import functional as F

from benchmarks.perf import torch_lite0, torch_mit, torch_step
from jaxuda import config as config_lib
from jaxuda import labels
from jaxuda.models import segmenter
from jaxuda.utils.errors import UserError

NETWORKS = {'efficientnet_lite': torch_lite0, 'mit': torch_mit}
KNOWN = {
  'model.remat': False,
  'bn_mode': 'batch',
  'ce_reduction': 'pixels',
  'optim.name': 'adamw',
  'teacher.margins': (0, 0),
  'mix.per_image': False,
  'strong.blur': True,
}


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
    encoder = config.model.encoder.name
    if encoder not in NETWORKS:
      raise UserError(
        'config.model.encoder.name: the PyTorch step of DACS has '
        f'{", ".join(NETWORKS)}.'
      )
    flat = config_lib.flatten(config)
    for key, value in (KNOWN | NETWORKS[encoder].KNOWN).items():
      if flat.get(key) != value:
        raise UserError(f'config.{key}: the PyTorch step of DACS has {value}.')
    self.config, self.device = config, torch.device(device)
    self.half = config.model.dtype == 'bfloat16'
    self.classes = len(labels.space(config.classes).classes)
    self.format = (
      torch.contiguous_format if variant == 'eager' else torch.channels_last
    )
    self.student = NETWORKS[encoder].Segmenter(config.model, self.classes)
    self.student.to(self.device, memory_format=self.format).train()
    self.teacher = copy.deepcopy(self.student).requires_grad_(False)
    for module in self.teacher.modules():  # it drops nothing
      module.training = isinstance(module, torch.nn.BatchNorm2d)
    norm = segmenter.INPUT_NORMS[config.model.input_norm]
    self.mean, self.std = (  # of images in 0 to 1
      torch.tensor(x, device=self.device)[:, None, None] * norm.scale / 255
      for x in (norm.mean, norm.std)
    )
    o = config.optim
    backbone, not_decayed, head = self.student.groups()
    self.optimizer = torch.optim.AdamW(
      [
        {'params': backbone},
        {'params': not_decayed, 'weight_decay': 0.0},
        {'params': head, 'lr': o.head_factor * o.lr},
      ],
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
      p = self._logits(self.teacher, batch.target).softmax(1)
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
    logits = self._logits(self.student, image)
    return F.cross_entropy(logits, label, ignore_index=255, reduction='none')

  def _logits(self, network, image):
    half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)
    with half:
      return network((image - self.mean) / self.std).float()


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
