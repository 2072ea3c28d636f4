"""The originals' training steps in PyTorch."""

import networks
import numpy as np
import seeded
import torch
import torch.nn.functional as F
from networks import CLASSES, enlarged

CAFFE_MEAN = (104.00698793, 116.66876762, 122.67891434)  # of BGR
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SOURCE, TARGET = 0.0, 1.0  # what discriminators call the domains
TEMPERATURE, CLIP = 1.8, 0.9  # FADA's


def self_information(p):
  """Return ADVENT's weighted self-information of softmaxed logits."""
  return -p * torch.log2(p + 1e-30) / np.log2(CLASSES)


class SGD:
  """The in-place update of the authors' torch; each tensor listed n times."""

  def __init__(self, groups, duplicates):
    """Take [(network, key, factor)]; duplicates: whether they are listed so."""
    self.groups, self.duplicates, self.buffers = groups, duplicates, {}

  @torch.no_grad()
  def step(self, rate):
    """Update all tensors that have a gradient."""
    for network, key, factor in self.groups:
      p = network.tensors[key]
      if p.grad is None:
        continue
      grad = p.grad.clone()
      for _ in range(self._times(key)):
        grad += 5e-4 * p
        at = (network.prefix, key)
        before = self.buffers.get(at)
        buffer = grad.clone() if before is None else 0.9 * before + grad
        self.buffers[at] = buffer
        p -= rate * factor * buffer

  def _times(self, key):
    if not self.duplicates or not key.startswith('layer'):
      return 1
    if '.downsample.' in key:
      return 4
    return 3 if '.conv2d_list.' not in key else 1


class Run:
  """A recorded run: its networks, optimizers and images."""

  def __init__(self, spec, dtype):
    self.spec, self.dtype = spec, dtype
    self.fada = spec['method'] == 'FADA'
    self.seg = networks.Segmenter(spec, dtype)
    self.discriminators = self._discriminators()
    groups = [
      (self.seg, key, 10 if '.conv2d_list.' in key else 1)
      for key in self.seg.trained
    ]
    if self.fada:
      classifier = self.seg.classifier
      groups += [(classifier, key, 10) for key in classifier.trained]
    self.sgd = SGD(groups, spec.get('sgd') == 'authors' and not self.fada)
    self.adams = [
      torch.optim.Adam(
        [d.tensors[key] for key in d.trained], lr=1e-4, betas=(0.9, 0.99)
      )
      for d in self.discriminators.values()
    ]
    self.networks = [self.seg, *self.discriminators.values()]
    if self.fada:
      self.networks.append(self.seg.classifier)
    self.start = [
      {key: t.detach().clone() for key, t in network.tensors.items()}
      for network in self.networks
    ]
    self.decay_steps = 62_500 if self.fada else 250_000

  def _discriminators(self):
    spec = self.spec
    if self.fada:
      return {'main': networks.PixelDiscriminator(spec, self.dtype)}
    if spec['method'] == 'MinEnt':
      return {}
    prefixes = {'aux': 'd_aux', 'main': 'd_main'}
    names = ('0', '2', '4', '6', '8')
    if spec['method'] == 'AdaptSegNet':
      prefixes = {'aux': 'D1', 'main': 'D2'}
      names = ('conv1', 'conv2', 'conv3', 'conv4', 'classifier')
    heads = ('aux', 'main') if spec['multi_level'] else ('main',)
    return {
      head: networks.Discriminator(prefixes[head], spec, self.dtype, names)
      for head in heads
    }

  def images(self, offset, size):
    """Return all images of a domain, as the networks see them; labels."""
    count = self.spec['steps'] * self.spec['batch']
    rgb, label = seeded.images(self.spec['seed'] + offset, count, size)
    x = torch.from_numpy(rgb.astype(np.float64))
    if self.fada:
      x = (x / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()
    else:
      x = x.flip(-1) - torch.tensor(CAFFE_MEAN).double()
    x = x.permute(0, 3, 1, 2).contiguous()
    return x.to(self.dtype), torch.from_numpy(label.astype(np.int64))

  def train(self):
    """Take all steps; return the losses of each."""
    x, y = self.images(1, self.spec['source_hw'])
    t, _ = self.images(2, self.spec['target_hw'])
    size = self.spec['batch']
    step = self.fada_step if self.fada else self.output_step
    losses = []
    for i in range(self.spec['steps']):
      at = slice(i * size, (i + 1) * size)
      for network in self.networks:
        for key in network.trained:
          network.tensors[key].grad = None
      losses.append(step(x[at], y[at], t[at]))
      decay = (1 - i / self.decay_steps) ** 0.9
      self.sgd.step(2.5e-4 * decay)
      for adam in self.adams:
        adam.param_groups[0]['lr'] = 1e-4 * decay
        adam.step()
    return losses

  def logits(self, x):
    """Return {head: logits of the image's size}; the maps are layer3's, 4's."""
    maps = dict(zip(('aux', 'main'), self.seg.maps(x), strict=True))
    heads = ('aux', 'main') if self.spec['multi_level'] else ('main',)
    return {
      head: enlarged(self.seg.head(maps[head], head), x.shape[2:])
      for head in heads
    }

  def output_step(self, x, y, t):
    """Take the gradients of AdaptSegNet, ADVENT or MinEnt."""
    method, weight = self.spec['method'], self.spec['weight']
    factors = {'main': weight, 'aux': 0.2 * weight}
    source = self.logits(x)
    seg = {
      head: F.cross_entropy(z, y, ignore_index=255)
      for head, z in source.items()
    }
    sum(
      {'main': 1.0, 'aux': 0.1}[h] * loss for h, loss in seg.items()
    ).backward()
    target = self.logits(t)
    if method == 'MinEnt':
      ent = {
        head: self_information(z.softmax(1)).sum(1).mean()
        for head, z in target.items()
      }
      sum(factors[head] * loss for head, loss in ent.items()).backward()
      return self._log(seg, ent=ent)

    def shown(z):
      p = z.softmax(1)
      return p if method == 'AdaptSegNet' else self_information(p)

    def judged(head, seen, domain):
      out = self.discriminators[head](seen)
      if self.spec.get('gan') == 'LS':
        return F.mse_loss(out, torch.full_like(out, domain))
      return F.binary_cross_entropy_with_logits(
        out, torch.full_like(out, domain)
      )

    # The discriminators are held constant: what this puts into their
    # gradients is taken out again.
    adv = {h: judged(h, shown(z), SOURCE) for h, z in target.items()}
    sum(factors[head] * loss for head, loss in adv.items()).backward()
    for network in self.discriminators.values():
      for key in network.trained:
        network.tensors[key].grad = None
    halves = {}
    for head in target:
      of_source = judged(head, shown(source[head].detach()), SOURCE) / 2
      of_target = judged(head, shown(target[head].detach()), TARGET) / 2
      (of_source + of_target).backward()
      halves[head] = of_source, of_target
    return self._log(seg, adv=adv, halves=halves)

  def _log(self, seg, adv=None, halves=None, ent=None):
    """Return the losses under the names of the original's log."""
    found = {}
    number = {'aux': 1, 'main': 2}
    asn = self.spec['method'] == 'AdaptSegNet'
    for head in seg:
      if asn:
        found[f'loss_seg{number[head]}'] = seg[head]
        found[f'loss_adv_target{number[head]}'] = adv[head]
        found[f'loss_D{number[head]}'] = sum(halves[head])
        continue
      found[f'loss_seg_src_{head}'] = seg[head]
      if ent:
        found[f'loss_ent_{head}'] = ent[head]
      else:
        found[f'loss_adv_trg_{head}'] = adv[head]
        found[f'loss_d_{head}'] = halves[head][1]  # the target's half
    return {key: value.item() for key, value in found.items()}

  def fada_step(self, x, y, t):
    """Take the gradients of FADA's second stage."""
    d = self.discriminators['main']

    def seen(image):
      features = self.seg.maps(image)[1]
      small = self.seg.head(features, 'main')
      z = enlarged(small, image.shape[2:]) / TEMPERATURE
      return features, z, z.detach().softmax(1).clamp(max=CLIP)

    def judged(features, knowledge, domain):
      z = enlarged(d(features), knowledge.shape[2:])
      nothing = torch.zeros_like(knowledge)
      halves = (
        (knowledge, nothing) if domain == SOURCE else (nothing, knowledge)
      )
      return -(torch.cat(halves, 1) * z.log_softmax(1)).sum(1).mean()

    source_features, z, of_source = seen(x)
    seg = F.cross_entropy(z, y, ignore_index=255)
    seg.backward()
    target_features, _, of_target = seen(t)
    adv = self.spec['weight'] * judged(target_features, of_target, SOURCE)
    adv.backward()
    for key in d.trained:
      d.tensors[key].grad = None
    halves = (
      judged(source_features.detach(), of_source, SOURCE) / 2,
      judged(target_features.detach(), of_target, TARGET) / 2,
    )
    sum(halves).backward()
    return {
      'loss_seg': seg.item(),
      'loss_adv_tgt': adv.item(),
      'loss_D': sum(halves).item(),
    }

  def changes(self):
    """Return {network: {key: [sum, norm, dot]}} of all tensors' changes."""
    return {
      network.prefix: {
        key: seeded.change(key, start[key].numpy(), t.detach().numpy())
        for key, t in network.tensors.items()
      }
      for network, start in zip(self.networks, self.start, strict=True)
    }

  @torch.no_grad()
  def eval_logits(self):
    """Return what is recorded of the logits on the first target image."""
    image = self.images(2, self.spec['target_hw'])[0][:1]
    features = self.seg.maps(image, training=False)[1]
    logits = self.seg.head(features, 'main').double()
    return {
      'shape_nchw': list(logits.shape),
      'sum': float(logits.sum()),
      'norm': float(logits.norm()),
      'first8': [float(v) for v in logits.ravel()[:8]],
    }
