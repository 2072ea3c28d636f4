"""Layers that torch checkpoints expect: convolutions, pooling, resizing.

All arrays are NHWC. Parameters are float32; `dtype` is the compute type.
"""

import functools
import operator
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxuda.models import matrix_forms

Array = jax.Array
Initializer = Callable[..., Array]


def torch_uniform(fan_in: int) -> Initializer:
  """Return torch's default for weights and biases: U(+-1 / sqrt(fan_in)).

  (kaiming_uniform with a = sqrt(5); AdaptSegNet's and ADVENT's discriminators
  and the biases of their ASPP heads start from it.)
  """
  bound = fan_in**-0.5

  def init(rng, shape, dtype=jnp.float32):
    return jax.random.uniform(rng, shape, dtype, -bound, bound)

  return init


# How an encoder's convolutions are drawn: N(0, 0.01) as in the originals before
# they load ImageNet weights, or for training from scratch.
KERNEL_INITS = {
  'caffe': nn.initializers.normal(0.01),
  'he': nn.initializers.he_normal(),
}


def use_matrix_forms() -> bool:
  """Return whether convolutions are rewritten as matrix products.

  XLA's CPU backend is up to several times slower at the gradients of 1x1, 3x3,
  dilated narrow and 4x4 stride-2 convolutions than at the equal matrix products
  (benchmarks/README.md); accelerators' own libraries take the convolutions as
  they come.
  """
  return jax.default_backend() == 'cpu'


class Conv(nn.Module):
  """A 2-D convolution with torch's explicit symmetric padding.

  Attributes:
    features: output channels.
    kernel: side of the square kernel.
    stride, padding, dilation: as in torch.nn.Conv2d.
    use_bias: whether a bias is added (initialised as torch does).
    kernel_init: initializer of the kernel [k, k, in, out]; None for torch's
      default.
    dtype: compute type.
  """

  features: int
  kernel: int
  stride: int = 1
  padding: int = 0
  dilation: int = 1
  use_bias: bool = False
  kernel_init: Initializer | None = None
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, in] to dtype[B, H', W', features]."""
    shape = (self.kernel, self.kernel, x.shape[-1], self.features)
    default = torch_uniform(int(np.prod(shape[:3])))
    kernel = self.param('kernel', self.kernel_init or default, shape)
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    y = conv(x, kernel, self.stride, self.padding, self.dilation)
    if self.use_bias:
      bias = self.param('bias', default, (self.features,))
      y = y + bias.astype(self.dtype)
    return y


def conv(
  x: Array, kernel: Array, stride: int, padding: int, dilation: int = 1
) -> Array:
  """Convolve f[B, H, W, I] with f[k, k, I, O], in the form that is fastest."""
  k = kernel.shape[0]
  if use_matrix_forms():
    if k == 1 and padding == 0:
      return matrix_forms.product(x[:, ::stride, ::stride], kernel[0, 0])
    if (k, stride, padding, dilation) == (4, 2, 1, 1):
      return matrix_forms.conv_4x4_stride_2(x, kernel)
    if (k, stride, padding) == (3, 1, dilation):
      return matrix_forms.conv_3x3(x, kernel, dilation)
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    ((padding, padding), (padding, padding)),
    rhs_dilation=(dilation, dilation),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


class ASPP(nn.Module):
  """The sum of dilated 3x3 convolutions with bias: DeepLabV2's classifier.

  (ADVENT, advent/model/deeplabv2.py: weights N(0, 0.01), padding = dilation.)

  Attributes:
    num_classes: output channels.
    dilations: of the branches.
    aspp_branches: how many of them are summed, from the first; None for all.
      AdaptSegNet's code returns inside the loop, after two; its other branches
      stay what they were, in every checkpoint.
    dtype: compute type.
  """

  num_classes: int
  dilations: Sequence[int]
  aspp_branches: int | None = None
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, C] to f32[B, H, W, num_classes]."""
    branches = [
      _Branch(self.num_classes, name=f'conv2d_list_{i}')(x.shape[-1])
      for i in range(len(self.dilations))
    ][: self.aspp_branches]
    dilations = self.dilations[: self.aspp_branches]
    kernels = [kernel.astype(self.dtype) for kernel, _ in branches]
    bias = sum(bias for _, bias in branches)
    x = x.astype(self.dtype)
    if use_matrix_forms():
      y = matrix_forms.shifted_sum(x, kernels, dilations)
    else:
      maps = (
        conv(x, kernel, 1, dilation, dilation)
        for kernel, dilation in zip(kernels, dilations, strict=True)
      )
      y = functools.reduce(operator.add, maps)
    return y.astype(jnp.float32) + bias


class _Branch(nn.Module):
  """Holds the parameters of one ASPP branch under the checkpoint's name."""

  features: int

  @nn.compact
  def __call__(self, channels: int) -> tuple[Array, Array]:
    shape = (3, 3, channels, self.features)
    kernel = self.param('kernel', nn.initializers.normal(0.01), shape)
    bias_init = torch_uniform(9 * channels)
    return kernel, self.param('bias', bias_init, (self.features,))


def max_pool(x: Array, ceil: bool) -> Array:
  """Pool f[B, H, W, C] to f[B, H', W', C]: 3x3, stride 2, padding 1, maximum.

  `ceil` is torch's ceil_mode. The padding is -inf, and never wins.
  """
  pads = [(1, 1 + (size % 2 == 0 if ceil else 0)) for size in x.shape[1:3]]
  return jax.lax.reduce_window(
    x,
    -jnp.inf,
    jax.lax.max,
    (1, 3, 3, 1),
    (1, 2, 2, 1),
    ((0, 0), *pads, (0, 0)),
  )


def resize(x: Array, size: Sequence[int], align_corners: bool = True) -> Array:
  """Resize f[B, h, w, C] to f32[B, *size, C] bilinearly, as torch does.

  These are two small matrix products. With aligned corners output i reads the
  input at i (in - 1) / (out - 1), as in all codes of 2018 to 2020; otherwise at
  (i + 1/2) in / out - 1/2, not below 0 (DAFormer's line).
  """
  x = x.astype(jnp.float32)
  rows = _interpolation(x.shape[1], size[0], align_corners)
  columns = _interpolation(x.shape[2], size[1], align_corners)
  precision = jax.lax.Precision.HIGHEST
  x = jnp.einsum('bhwc,Hh->bHwc', x, rows, precision=precision)
  return jnp.einsum('bHwc,Ww->bHWc', x, columns, precision=precision)


def _interpolation(small: int, large: int, align_corners: bool) -> np.ndarray:
  """Return f32[large, small], the weight of each input in each output."""
  if align_corners:
    at = np.arange(large) * ((small - 1) / max(large - 1, 1))
  else:
    at = (np.arange(large) + 0.5) * (small / large) - 0.5
    at = np.clip(at, 0, small - 1)
  low = np.minimum(at.astype(int), max(small - 2, 0))
  high = np.minimum(low + 1, small - 1)
  weights = np.zeros((large, small), np.float64)
  np.add.at(weights, (np.arange(large), low), 1 - (at - low))
  np.add.at(weights, (np.arange(large), high), at - low)
  return weights.astype(np.float32)
