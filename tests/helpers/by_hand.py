"""NumPy forms of the layers, written from torch's documentation (float64)."""

import numpy as np
import scipy.special


def conv(x, kernel, stride=1, padding=0, dilation=1):
  """Apply torch.nn.Conv2d to [B, H, W, I] with a kernel [k, k, I, O]."""
  pad = (padding, padding)
  x = np.pad(np.asarray(x, np.float64), ((0, 0), pad, pad, (0, 0)))
  k = kernel.shape[0]
  h, w = ((n - dilation * (k - 1) - 1) // stride + 1 for n in x.shape[1:3])
  total = 0.0
  for i in range(k):
    for j in range(k):
      rows = slice(i * dilation, i * dilation + (h - 1) * stride + 1, stride)
      columns = slice(j * dilation, j * dilation + (w - 1) * stride + 1, stride)
      total = total + x[:, rows, columns] @ np.float64(kernel[i, j])
  return total


def max_pool(x, ceil):
  """Apply torch.nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=ceil)."""
  h, w = ((n - 1) / 2 + 1 for n in x.shape[1:3])
  rounded = np.ceil if ceil else np.floor
  y = np.full((x.shape[0], int(rounded(h)), int(rounded(w)), x.shape[3]), 0.0)
  for i in range(y.shape[1]):
    for j in range(y.shape[2]):
      rows = slice(max(2 * i - 1, 0), 2 * i + 2)
      columns = slice(max(2 * j - 1, 0), 2 * j + 2)
      y[:, i, j] = x[:, rows, columns].max((1, 2))
  return y


def norm(x, affine, statistics, epsilon=1e-5):
  """Apply torch.nn.BatchNorm2d in evaluation."""
  std = np.sqrt(np.float64(statistics['var']) + epsilon)
  return (x - statistics['mean']) / std * affine['scale'] + affine['bias']


def bottleneck(x, params, statistics, stride, dilation, caffe=True):
  """Apply ADVENT's Bottleneck, or torchvision's where `caffe` is False.

  ADVENT's has the stride in the first convolution, torchvision's in the second.
  """
  first, second = (stride, 1) if caffe else (1, stride)
  y = conv(x, params['conv1']['kernel'], first)
  y = np.maximum(norm(y, params['bn1'], statistics['bn1']), 0)
  y = conv(y, params['conv2']['kernel'], second, dilation, dilation)
  y = np.maximum(norm(y, params['bn2'], statistics['bn2']), 0)
  y = conv(y, params['conv3']['kernel'])
  y = norm(y, params['bn3'], statistics['bn3'])
  if 'downsample_0' in params:
    x = conv(x, params['downsample_0']['kernel'], stride)
    x = norm(x, params['downsample_1'], statistics['downsample_1'])
  return np.maximum(x + y, 0)


def aspp(x, params, dilations):
  """Apply ADVENT's Classifier_Module."""
  branches = [params[f'conv2d_list_{i}'] for i in range(len(dilations))]
  return sum(
    conv(x, branch['kernel'], 1, d, d) + branch['bias']
    for branch, d in zip(branches, dilations, strict=True)
  )


def depthwise(x, kernel, padding=0, dilation=1):
  """Apply torch.nn.Conv2d(groups=C) with a kernel [k, k, 1, C]."""
  c = x.shape[-1]
  each = (
    conv(x[..., i : i + 1], kernel[..., i : i + 1], 1, padding, dilation)
    for i in range(c)
  )
  return np.concatenate(list(each), -1)


def dense(x, params):
  """Apply torch.nn.Linear with a kernel [in, out]."""
  return x @ np.float64(params['kernel']) + params['bias']


def layer_norm(x, affine, epsilon):
  """Apply torch.nn.LayerNorm over the last axis."""
  x = x - x.mean(-1, keepdims=True)
  std = np.sqrt(np.square(x).mean(-1, keepdims=True) + epsilon)
  return x / std * affine['scale'] + affine['bias']


def gelu(x):
  """Apply torch.nn.GELU: x times the normal distribution's function of x."""
  return x * (1 + scipy.special.erf(x / np.sqrt(2))) / 2


def softmax(x):
  """Return the softmax over the last axis."""
  x = np.exp(x - x.max(-1, keepdims=True))
  return x / x.sum(-1, keepdims=True)


def attention(q, k, v, heads):
  """Attend from [B, N, C] to [B, M, C], by heads of C / heads channels."""
  width = q.shape[-1] // heads
  parts = []
  for i in range(heads):
    own = slice(i * width, (i + 1) * width)
    scores = q[..., own] @ np.swapaxes(k[..., own], 1, 2) / np.sqrt(width)
    parts.append(softmax(scores) @ v[..., own])
  return np.concatenate(parts, -1)


def resize(x, height, width):
  """Apply torch's bilinear interpolate without aligned corners."""
  for axis, size in ((1, height), (2, width)):
    last = x.shape[axis] - 1
    at = (np.arange(size) + 0.5) * x.shape[axis] / size - 0.5
    at = np.clip(at, 0, last)
    low = np.floor(at).astype(int)
    part = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
    high = np.minimum(low + 1, last)
    x = x.take(low, axis) * (1 - part) + x.take(high, axis) * part
  return x
