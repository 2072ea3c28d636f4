"""The same training steps in plain PyTorch, as the originals write them.

AdaptSegNet, ADVENT, MinEnt (train_UDA.py) and FADA (train_adv.py): backward
after each loss, gradients of the segmenter and of the discriminators kept apart
by requires_grad and detach, three optimizers. Each parameter is updated once a
step, which is less than the originals do. Values stay on the device, and the
images are there already, as ours are.
"""

import functools
from typing import NamedTuple

import torch
from torch.nn import functional as F

from benchmarks.perf import torch_nets
from jaxuda import config as config_lib
from jaxuda import labels, optim
from jaxuda.models import segmenter
from jaxuda.utils.errors import UserError

VARIANTS = ('eager', 'channels_last', 'compile')
_ADVERSARIAL = ('advent', 'advent_patch', 'adaptsegnet')
# What of a config there is a step of.
KNOWN = {
  'method': ('source_only', 'adabn', 'minent', *_ADVERSARIAL, 'fada'),
  'model.encoder.name': ('resnet',),
  'model.encoder.variant': ('caffe', 'torchvision'),
  'bn_mode': tuple(torch_nets.NORMS),
}
SOURCE, TARGET = 0.0, 1.0


class _Outputs(NamedTuple):
  """Of a forward pass.

  Attributes:
    corners: i64[B, N, 2] of the patches that a discriminator is shown, or None.
    logits: {head: f32[B, C, H, W]}, upsampled.
    features: f[B, c, h, w].
  """

  corners: torch.Tensor | None
  logits: dict
  features: torch.Tensor


class TorchStep:
  """Networks, optimizers and the step of one experiment.

  Attributes:
    segmenter, discriminators: torch modules, on the device.
  """

  def __init__(self, config, variant: str, device: str):
    """Make the networks and their optimizers.

    Args:
      config: an experiment's.
      variant: of VARIANTS.
      device: 'cpu' or 'cuda'.

    Raises:
      UserError: something in the config has no PyTorch step here.
    """
    _check(config, variant)
    self.config, self.device = config, torch.device(device)
    self.half = config.model.dtype == 'bfloat16'
    self.format = torch.contiguous_format
    if variant != 'eager':
      self.format = torch.channels_last
    classes = len(labels.space(config.classes).classes)
    self.segmenter = self._place(torch_nets.DeepLab(config, classes))
    self.discriminators = {
      name: self._place(net) for name, net in _discriminators(config, classes)
    }
    o = config.optim
    named = list(self.segmenter.named_parameters())
    heads = [p for n, p in named if _is_head(n)]
    rest = [p for n, p in named if not _is_head(n) and p.requires_grad]
    self.optimizers = [
      torch.optim.SGD(
        [{'params': rest}, {'params': heads, 'factor': o.head_factor}],
        o.lr,
        o.momentum,
        weight_decay=o.weight_decay,
      )
    ]
    self.optimizers += [
      torch.optim.Adam(net.parameters(), config.discriminator.lr, (0.9, 0.99))
      for net in self.discriminators.values()
    ]
    self.schedules = [
      optim.poly(rate, optim.decay_steps(config), o.power)
      for rate in (o.lr, *[config.discriminator.lr] * len(self.discriminators))
    ]
    self.shown = functools.partial(_shown, config)
    self.steps = 0
    if variant == 'compile':
      self.segmenter.compile(dynamic=False)
      for net in self.discriminators.values():
        net.compile(dynamic=False)

  def _place(self, net):
    return net.to(self.device, memory_format=self.format).train()

  def load(self, batch: dict) -> dict:
    """Return u8 arrays of jaxuda's batch as the originals' loaders give them.

    The pixels are normalised here and not in the step.
    """
    norm = segmenter.INPUT_NORMS[self.config.model.input_norm]
    loaded = {}
    for name, arrays in batch.items():
      x = torch.tensor(arrays['image']).to(self.device).float()
      x = (x.flip(-1) if norm.bgr else x) / norm.scale
      mean, std = (
        torch.tensor(v, device=self.device) for v in (norm.mean, norm.std)
      )
      x = ((x - mean) / std).permute(0, 3, 1, 2)
      loaded[name] = {'image': x.contiguous(memory_format=self.format)}
      if 'label' in arrays:
        label = torch.tensor(arrays['label']).to(self.device).long()
        loaded[name]['label'] = label
    return loaded

  def __call__(self, batch: dict) -> dict:
    """Take a step; return {term: loss}, tensors on the device."""
    config, terms = self.config, {}
    self._start()
    for net in self.discriminators.values():
      net.requires_grad_(False)
    source = self._forward(batch['source']['image'])
    loss = 0
    for head, map_ in source.logits.items():
      label = batch['source']['label']
      name = f'seg_source_{head}'
      terms[name] = _cross_entropy(map_, label, config.ce_reduction)
      loss = loss + config.loss_weights[name] * terms[name]
    loss.backward()
    if 'target' in batch:
      target = self._forward(batch['target']['image'])
      self._adapt(target, terms)
      self._train_discriminators(source, target, terms)
    for optimizer in self.optimizers:
      optimizer.step()
    self.steps += 1
    return {name: value.detach() for name, value in terms.items()}

  def _start(self):
    for optimizer, schedule in zip(
      self.optimizers, self.schedules, strict=True
    ):
      optimizer.zero_grad(set_to_none=True)
      for group in optimizer.param_groups:
        group['lr'] = float(schedule(self.steps)) * group.get('factor', 1.0)

  def _autocast(self):
    return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

  def _forward(self, image):
    """Return the _Outputs of an image."""
    with self._autocast():
      small, features = self.segmenter(image)
    size = image.shape[2:]
    logits = {
      head: F.interpolate(
        map_.float() / self.config.temperature,
        size,
        mode='bilinear',
        align_corners=self.config.model.align_corners,
      )
      for head, map_ in small.items()
    }
    corners = None
    patch = self.config.get('patch')
    if patch and patch.size is not None:
      shape = (image.shape[0], patch.count)
      corners = torch.stack(
        [torch.randint(0, s - patch.size + 1, shape) for s in size], -1
      )
    return _Outputs(corners, logits, features)

  def _discriminate(self, name, x):
    with self._autocast():
      return self.discriminators[name](x).float()

  def _adapt(self, target, terms):
    """Return the method's loss on the target, and its gradient."""
    config = self.config
    corners, logits, features = target
    if config.method == 'minent':
      for head, map_ in logits.items():
        terms[f'ent_{head}'] = _entropy(map_)
    elif config.method in _ADVERSARIAL:
      for head, map_ in logits.items():
        of_domain = self._discriminate(head, self.shown(map_, corners))
        terms[f'adv_{head}'] = _domain_loss(config, of_domain, SOURCE)
    elif config.method == 'fada':
      terms['adv_main'] = self._class_loss(logits, features, SOURCE)
    ours = [name for name in terms if name.startswith(('ent_', 'adv_'))]
    if ours:
      sum(config.loss_weights[name] * terms[name] for name in ours).backward()

  def _class_loss(self, logits, features, domain):
    knowledge = logits['main'].detach().softmax(1).clamp(max=self.config.clip)
    of_domain = F.interpolate(
      self._discriminate('main', features),
      knowledge.shape[2:],
      mode='bilinear',
      align_corners=self.config.model.align_corners,
    )
    halves = of_domain.log_softmax(1).chunk(2, 1)
    return -(knowledge * halves[int(domain == TARGET)]).sum(1).mean()

  def _train_discriminators(self, source, target, terms):
    """Return the discriminators' losses on both domains; take gradients."""
    config = self.config
    for net in self.discriminators.values():
      net.requires_grad_(True)
    sides = ((*source, SOURCE), (*target, TARGET))
    for corners, logits, features, domain in sides:
      for head in self.discriminators:
        if config.method == 'fada':
          loss = self._class_loss(logits, features.detach(), domain)
        else:
          shown = self.shown(logits[head].detach(), corners)
          of_domain = self._discriminate(head, shown)
          loss = _domain_loss(config, of_domain, domain)
        (config.loss_weights[f'd_{head}'] * loss / 2).backward()
        terms[f'd_{head}'] = terms.get(f'd_{head}', 0) + loss.detach() / 2


def check_variant(variant: str) -> None:
  """Refuse what is none of VARIANTS.

  Raises:
    UserError: it is none.
  """
  if variant not in VARIANTS:
    raise UserError(f'--torch={variant} is none of {", ".join(VARIANTS)}.')


def _check(config, variant):
  check_variant(variant)
  flat = config_lib.flatten(config)
  for key, choices in KNOWN.items():
    if flat.get(key) not in choices:
      known = ', '.join(choices)
      raise UserError(f'config.{key}: PyTorch steps are there for {known}.')


def _is_head(name):
  return name.startswith(('layer5.', 'layer6.'))


def _discriminators(config, classes):
  width = config.discriminator.width
  if config.method == 'fada':
    channels = segmenter.main_channels(config)
    yield 'main', torch_nets.PixelDiscriminator(channels, classes, width)
  elif config.method in _ADVERSARIAL:
    for head in segmenter.heads(config):
      outputs = config.discriminator.outputs
      yield head, torch_nets.FCDiscriminator(classes, width, outputs)


def _shown(config, logits, corners):
  """Return what a discriminator is shown: f[B, C, H, W] or patches of it."""
  maps = logits.softmax(1)
  if config.method != 'adaptsegnet':
    maps = -maps * torch.log2(maps + 1e-30)
    if config.information == 'normalised':
      maps = maps / torch.log2(torch.tensor(float(maps.shape[1])))
    else:
      maps = maps * torch.log(torch.tensor(2.0))
  if corners is None:
    return maps
  size = config.patch.size
  return torch.stack(
    [
      image[:, y : y + size, x : x + size]
      for image, places in zip(maps, corners.tolist(), strict=True)
      for y, x in places
    ]
  )


def _domain_loss(config, of_domain, domain):
  wanted = torch.full_like(of_domain, domain)
  if config.get('gan') == 'lsgan':
    return F.mse_loss(of_domain, wanted)
  return F.binary_cross_entropy_with_logits(of_domain, wanted)


def _cross_entropy(logits, label, reduction):
  if reduction == 'image':
    pairs = zip(logits, label, strict=True)
    losses = [
      F.cross_entropy(a[None], b[None], ignore_index=255) for a, b in pairs
    ]
    return sum(losses) / len(losses)
  return F.cross_entropy(logits, label, ignore_index=255)


def _entropy(logits):
  p = logits.softmax(1)
  total = -(p * torch.log2(p + 1e-30)).sum(1)
  return total.mean() / torch.log2(torch.tensor(float(p.shape[1])))
