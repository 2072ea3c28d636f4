"""The networks of the originals in plain PyTorch, to compare speed with.

Tensors are named as in ADVENT's checkpoints. Written for the comparison alone:
jaxuda does not use it.
"""

import torch
from torch import nn
from torch.nn import functional as F

_DILATIONS = (1, 1, 2, 4)


class RunningNorm(nn.BatchNorm2d):
  """Batch norm by the running statistics while they are updated (ACCV 2020)."""

  def forward(self, x):
    """Map f[B, C, H, W] to the same."""
    # Copies, as the gradient wants the values from before the update.
    mean, var = self.running_mean.clone(), self.running_var.clone()
    y = F.batch_norm(x, mean, var, self.weight, self.bias, eps=self.eps)
    with torch.no_grad():
      var, mean = torch.var_mean(x, (0, 2, 3))
      self.running_mean.lerp_(mean.float(), self.momentum)
      self.running_var.lerp_(var.float(), self.momentum)
    return y


class FrozenNorm(nn.BatchNorm2d):
  """Batch norm that is never updated and has no epsilon (FADA)."""

  def forward(self, x):
    """Map f[B, C, H, W] to the same."""
    scale = self.weight * self.running_var.rsqrt()
    bias = self.bias - self.running_mean * scale
    return (
      x * scale.to(x.dtype)[:, None, None] + bias.to(x.dtype)[:, None, None]
    )


NORMS = {
  'batch': nn.BatchNorm2d,
  'running': RunningNorm,
  'frozen': FrozenNorm,
}


class Bottleneck(nn.Module):
  """1x1, 3x3, 1x1 and a sum; the stride's place depends on the variant."""

  def __init__(self, inputs, planes, stride, dilation, variant, norm, shortcut):
    super().__init__()
    first, second = (stride, 1) if variant == 'caffe' else (1, stride)
    self.conv1 = nn.Conv2d(inputs, planes, 1, first, bias=False)
    self.bn1 = norm(planes)
    self.conv2 = nn.Conv2d(
      planes, planes, 3, second, dilation, dilation, bias=False
    )
    self.bn2 = norm(planes)
    self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
    self.bn3 = norm(4 * planes)
    self.relu = nn.ReLU(inplace=True)
    self.downsample = None
    if shortcut:
      conv = nn.Conv2d(inputs, 4 * planes, 1, stride, bias=False)
      self.downsample = nn.Sequential(conv, norm(4 * planes))

  def forward(self, x):
    """Map f[B, C, H, W] to f[B, 4 planes, H', W']."""
    y = self.relu(self.bn1(self.conv1(x)))
    y = self.relu(self.bn2(self.conv2(y)))
    y = self.bn3(self.conv3(y))
    shortcut = x if self.downsample is None else self.downsample(x)
    return self.relu(y + shortcut)


class ASPP(nn.Module):
  """The sum of dilated 3x3 convolutions."""

  def __init__(self, inputs, classes, dilations, branches):
    super().__init__()
    self.branches = branches
    self.conv2d_list = nn.ModuleList(
      nn.Conv2d(inputs, classes, 3, 1, d, d) for d in dilations
    )

  def forward(self, x):
    """Map f[B, C, H, W] to f[B, classes, H, W]."""
    return sum(conv(x) for conv in self.conv2d_list[: self.branches])


class DeepLab(nn.Module):
  """ResNet at output stride 8 with one or two heads, as a config has it."""

  def __init__(self, config, classes):
    super().__init__()
    encoder, decoder = config.model.encoder, config.model.decoder
    norm, variant = NORMS[config.bn_mode], encoder.variant
    width, inputs = encoder.width, encoder.width
    self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
    self.bn1 = norm(width)
    self.relu = nn.ReLU(inplace=True)
    self.pool = nn.MaxPool2d(3, 2, 1, ceil_mode=variant == 'caffe')
    for layer, count in enumerate(encoder.blocks):
      planes, blocks = width * 2**layer, []
      for i in range(count):
        kept = i == 0 and variant == 'torchvision'
        stride = 2 if (layer, i) == (1, 0) else 1
        dilation = _DILATIONS[max(layer - kept, 0)]
        blocks.append(
          Bottleneck(inputs, planes, stride, dilation, variant, norm, i == 0)
        )
        inputs = 4 * planes
      setattr(self, f'layer{layer + 1}', nn.Sequential(*blocks))
    aspp = (classes, decoder.dilations, decoder.aspp_branches)
    if decoder.multi_level:
      self.layer5 = ASPP(inputs // 2, *aspp)
    self.layer6 = ASPP(inputs, *aspp)
    for module in self.modules():
      if isinstance(module, nn.BatchNorm2d):
        module.requires_grad_(False)
        if config.bn_mode == 'frozen':
          module.eps = 0.0

  def forward(self, x):
    """Map f[B, 3, H, W] to {head: logits at 1/8} and features."""
    x = self.pool(self.relu(self.bn1(self.conv1(x))))
    layer3 = self.layer3(self.layer2(self.layer1(x)))
    layer4 = self.layer4(layer3)
    logits = {'main': self.layer6(layer4)}
    if hasattr(self, 'layer5'):
      logits['aux'] = self.layer5(layer3)
    return logits, layer4


class FCDiscriminator(nn.Module):
  """Five 4x4 stride-2 convolutions (AdaptSegNet, ADVENT)."""

  def __init__(self, classes, width, outputs):
    super().__init__()
    self.conv1 = nn.Conv2d(classes, width, 4, 2, 1)
    self.conv2 = nn.Conv2d(width, 2 * width, 4, 2, 1)
    self.conv3 = nn.Conv2d(2 * width, 4 * width, 4, 2, 1)
    self.conv4 = nn.Conv2d(4 * width, 8 * width, 4, 2, 1)
    self.classifier = nn.Conv2d(8 * width, outputs, 4, 2, 1)

  def forward(self, x):
    """Map f[B, classes, H, W] to the logits of 'target' at 1/32."""
    for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
      x = F.leaky_relu(conv(x), 0.2, inplace=True)
    x = self.classifier(x)
    return x if x.shape[1] == 1 else x[:, 1:] - x[:, :1]


class PixelDiscriminator(nn.Module):
  """Three 3x3 convolutions, one last layer a domain (FADA)."""

  def __init__(self, channels, classes, width):
    super().__init__()
    self.D = nn.Sequential(
      nn.Conv2d(channels, width, 3, 1, 1),
      nn.LeakyReLU(0.2, inplace=True),
      nn.Conv2d(width, width // 2, 3, 1, 1),
      nn.LeakyReLU(0.2, inplace=True),
    )
    self.cls1 = nn.Conv2d(width // 2, classes, 3, 1, 1)
    self.cls2 = nn.Conv2d(width // 2, classes, 3, 1, 1)

  def forward(self, x):
    """Map f[B, C, h, w] to f[B, 2 classes, h, w]."""
    x = self.D(x)
    return torch.cat([self.cls1(x), self.cls2(x)], 1)
