"""The originals' networks in PyTorch, as tensors by their names.

AdaptSegNet and ADVENT: DeepLabV2 on caffe's ResNet, and discriminators of five
layers. FADA: on torchvision's ResNet, and a discriminator of each cell.
"""

import seeded
import torch
import torch.nn.functional as F

CLASSES = 19


class Network:
  """Tensors by their names, and what torch does with them.

  Attributes:
    tensors: a name to its tensor.
    trained: the names of those that have a gradient.
  """

  def __init__(self, prefix, seed, dtype):
    self.prefix, self.seed, self.dtype = prefix, seed, dtype
    self.tensors, self.trained = {}, []

  def add(self, key, shape, trained=True):
    """Draw a tensor."""
    drawn = seeded.tensor(self.seed, f'{self.prefix}/{key}', tuple(shape))
    self.tensors[key] = torch.from_numpy(drawn).to(self.dtype)
    if trained:
      self.tensors[key].requires_grad_()
      self.trained.append(key)

  def add_norm(self, key, channels):
    """Draw a norm; its scale and bias are not trained in these methods."""
    for name in ('weight', 'bias', 'running_mean', 'running_var'):
      self.add(f'{key}.{name}', [channels], trained=False)

  def conv(self, x, key, stride=1, padding=0, dilation=1):
    """Convolve by the tensors of a key."""
    t = self.tensors
    return F.conv2d(
      x, t[f'{key}.weight'], t.get(f'{key}.bias'), stride, padding, dilation
    )

  def grads(self):
    """Return {name: gradient} of the trained tensors that have one."""
    found = {key: self.tensors[key].grad for key in self.trained}
    return {key: grad for key, grad in found.items() if grad is not None}


class Segmenter(Network):
  """DeepLabV2 on a ResNet: caffe's variant, or torchvision's for FADA."""

  def __init__(self, spec, dtype):
    self.fada = spec['method'] == 'FADA'
    prefix = 'feature_extractor' if self.fada else 'seg'
    super().__init__(prefix, spec['seed'], dtype)
    self.before = 'backbone.' if self.fada else ''
    self.blocks, width = spec['blocks'], spec.get('width', 64)
    # AdaptSegNet's code returns within the loop over the branches.
    self.live = 2 if spec['method'] == 'AdaptSegNet' else 4
    self.add(f'{self.before}conv1.weight', [width, 3, 7, 7])
    self.add_norm(f'{self.before}bn1', width)
    channels = width
    for layer, count in enumerate(self.blocks, 1):
      planes = width * 2 ** (layer - 1)
      for block in range(count):
        channels = self._add_block(layer, block, channels, planes)
    self.heads = {}
    if self.fada:
      self.classifier = Network('classifier', spec['seed'], dtype)
      self._add_head(self.classifier, 'conv2d_list', channels)
    else:
      if spec['multi_level']:
        self._add_head(self, 'layer5.conv2d_list', channels // 2)
      self._add_head(self, 'layer6.conv2d_list', channels)

  def _add_block(self, layer, block, channels, planes):
    at = f'{self.before}layer{layer}.{block}'
    shapes = ([planes, channels, 1, 1], [planes, planes, 3, 3])
    for i, shape in enumerate((*shapes, [4 * planes, planes, 1, 1]), 1):
      self.add(f'{at}.conv{i}.weight', shape)
      self.add_norm(f'{at}.bn{i}', shape[0])
    if block == 0:
      self.add(f'{at}.downsample.0.weight', [4 * planes, channels, 1, 1])
      self.add_norm(f'{at}.downsample.1', 4 * planes)
    return 4 * planes

  def _add_head(self, network, key, channels):
    for i in range(4):
      network.add(f'{key}.{i}.weight', [CLASSES, channels, 3, 3])
      network.add(f'{key}.{i}.bias', [CLASSES])

  def norm(self, x, key, training):
    """Normalise: by the batch, or FADA's frozen form without epsilon."""
    names = ('running_mean', 'running_var', 'weight', 'bias')
    mean, var, scale, bias = (self.tensors[f'{key}.{name}'] for name in names)
    if self.fada:
      factor = scale * var.rsqrt()
      shift = bias - mean * factor
      return x * factor[:, None, None] + shift[:, None, None]
    return F.batch_norm(x, mean, var, scale, bias, training, 0.1, 1e-5)

  def maps(self, x, training=True):
    """Return the maps of layer3 and layer4."""
    x = self.conv(x, f'{self.before}conv1', 2, 3)
    x = F.relu(self.norm(x, f'{self.before}bn1', training))
    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=not self.fada)
    found = []
    for layer, count in enumerate(self.blocks, 1):
      for block in range(count):
        x = self._block(x, layer, block, training)
      found.append(x)
    return found[2:]

  def _block(self, x, layer, block, training):
    at = f'{self.before}layer{layer}.{block}'
    stride = 2 if layer == 2 and block == 0 else 1
    dilation = {3: 2, 4: 4}.get(layer, 1)
    if self.fada and block == 0:
      dilation = max(dilation // 2, 1)
    strides = (1, stride) if self.fada else (stride, 1)
    y = self.conv(x, f'{at}.conv1', strides[0])
    y = F.relu(self.norm(y, f'{at}.bn1', training))
    y = self.conv(y, f'{at}.conv2', strides[1], dilation, dilation)
    y = F.relu(self.norm(y, f'{at}.bn2', training))
    y = self.norm(self.conv(y, f'{at}.conv3'), f'{at}.bn3', training)
    if block == 0:
      x = self.conv(x, f'{at}.downsample.0', stride)
      x = self.norm(x, f'{at}.downsample.1', training)
    return F.relu(x + y)

  def head(self, x, name):
    """Return the small logits of 'aux' or 'main'."""
    key = {'aux': 'layer5.conv2d_list', 'main': 'layer6.conv2d_list'}[name]
    network = self.classifier if self.fada else self
    key = 'conv2d_list' if self.fada else key
    branches = zip(range(self.live), (6, 12, 18, 24), strict=False)
    return sum(network.conv(x, f'{key}.{i}', 1, d, d) for i, d in branches)


class Discriminator(Network):
  """Five 4x4 convolutions of stride 2, or FADA's three of 3x3."""

  def __init__(self, prefix, spec, dtype, names):
    super().__init__(prefix, spec['seed'], dtype)
    self.names = names
    width = spec.get('discriminator_width', 64)
    sizes = [CLASSES, *(width * 2**i for i in range(4)), 1]
    for name, i, o in zip(names, sizes, sizes[1:], strict=False):
      self.add(f'{name}.weight', [o, i, 4, 4])
      self.add(f'{name}.bias', [o])

  def __call__(self, x):
    """Return the logits of 'target'."""
    for name in self.names[:-1]:
      x = F.leaky_relu(self.conv(x, name, 2, 1), 0.2)
    return self.conv(x, self.names[-1], 2, 1)


class PixelDiscriminator(Network):
  """FADA's: class and domain of each cell, the source's classes first."""

  def __init__(self, spec, dtype):
    super().__init__('model_D', spec['seed'], dtype)
    width = spec.get('discriminator_width', 256)
    channels = 32 * spec.get('width', 64)
    for name, o, i in (
      ('D.0', width, channels),
      ('D.2', width // 2, width),
      ('cls1', CLASSES, width // 2),
      ('cls2', CLASSES, width // 2),
    ):
      self.add(f'{name}.weight', [o, i, 3, 3])
      self.add(f'{name}.bias', [o])

  def __call__(self, x):
    """Return the logits of both halves."""
    x = F.leaky_relu(self.conv(x, 'D.0', 1, 1), 0.2)
    x = F.leaky_relu(self.conv(x, 'D.2', 1, 1), 0.2)
    halves = [self.conv(x, name, 1, 1) for name in ('cls1', 'cls2')]
    return torch.cat(halves, 1)


def enlarged(x, size):
  """Upsample bilinearly with aligned corners."""
  return F.interpolate(x, size=size, mode='bilinear', align_corners=True)
