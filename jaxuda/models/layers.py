"""Layers that torch checkpoints expect: convolutions, pooling, resizing.

All arrays are NHWC. Parameters are float32; `dtype` is the compute type.
"""

import contextlib
import contextvars
import fractions
from collections.abc import Callable, Iterator, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxuda.models import matrix_forms

Array = jax.Array
Initializer = Callable[..., Array]
Padding = int | str
_plain = contextvars.ContextVar('plain', default=False)


def torch_uniform(fan_in: int) -> Initializer:
  """Return torch's default for weights and biases: U(+-1 / sqrt(fan_in)).

  (kaiming_uniform with a = sqrt(5); AdaptSegNet's and ADVENT's discriminators
  and the biases of their ASPP heads start from it.)
  """
  bound = fan_in**-0.5

  def init(rng, shape, dtype=jnp.float32):
    return jax.random.uniform(rng, shape, dtype, -bound, bound)

  return init


def kaiming(fan_out: int) -> Initializer:
  """Return N(0, 2 / fan_out), which keeps the size of gradients (mmcv)."""
  return nn.initializers.normal((2 / fan_out) ** 0.5)


# How a ResNet's convolutions are drawn: N(0, 0.01) as in the originals before
# they load ImageNet weights, or for training from scratch.
KERNEL_INITS = {
  'caffe': nn.initializers.normal(0.01),
  'he': nn.initializers.he_normal(),
}


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
  """Rewrite no convolution that is traced within: it is not for this CPU."""
  before = _plain.set(True)
  try:
    yield
  finally:
    _plain.reset(before)


def param(
  module: nn.Module, name: str, init: Initializer, shape: Sequence[int]
) -> Array:
  """Return a parameter of a module, which `init` draws where there is none.

  As Module.param, which traces `init` at each use, too, to compare shapes:
  that takes long.

  Raises:
    ValueError: its shape is another.
  """
  if not module.has_variable('params', name):
    return module.param(name, init, tuple(shape))
  found: Array = module.get_variable('params', name)
  if found.shape != tuple(shape):
    path = '/'.join([*module.path, name])
    raise ValueError(f'{path} is {found.shape}, and not {tuple(shape)}.')
  return found


def use_matrix_forms() -> bool:
  """Return whether convolutions are rewritten as matrix products.

  XLA's CPU backend is up to several times slower at the gradients of 1x1, 3x3,
  dilated narrow and 4x4 stride-2 convolutions than at the equal matrix products
  (benchmarks/README.md); accelerators' own libraries take the convolutions as
  they come.
  """
  return jax.default_backend() == 'cpu' and not _plain.get()


class Conv(nn.Module):
  """A 2-D convolution.

  Attributes:
    features: output channels.
    kernel: side of the square kernel.
    stride, padding, dilation: as in torch.nn.Conv2d, or TensorFlow's padding
      'SAME'.
    depthwise: whether each channel is convolved by itself; it has as many
      features as the input then.
    use_bias: whether a bias is added.
    kernel_init, bias_init: initializers of the kernel [k, k, in, out], where it
      is depthwise [k, k, 1, out], and of the bias; None for torch's default.
    dtype: compute type.
  """

  features: int
  kernel: int
  stride: int = 1
  padding: Padding = 0
  dilation: int = 1
  depthwise: bool = False
  use_bias: bool = False
  kernel_init: Initializer | None = None
  bias_init: Initializer | None = None
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, in] to dtype[B, H', W', features]."""
    read = 1 if self.depthwise else x.shape[-1]
    shape = (self.kernel, self.kernel, read, self.features)
    default = torch_uniform(int(np.prod(shape[:3])))
    kernel = param(self, 'kernel', self.kernel_init or default, shape)
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    y = conv(x, kernel, self.stride, self.padding, self.dilation)
    if self.use_bias:
      bias_init = self.bias_init or default
      bias = param(self, 'bias', bias_init, (self.features,))
      y = y + bias.astype(self.dtype)
    return y


def of_any_size(x: Array) -> bool:
  """Return whether the sides of f[B, H, W, C] are known when it runs alone.

  So are those of a network that is exported for images of any size.
  """
  return any(map(export.is_symbolic_dim, x.shape[1:3]))


def computed_once(x: Array) -> Array:
  """Return x, which whatever reads it then does not compute anew on the CPU.

  Its compiler would fuse a block's sum into each of its readers, and with it
  the sums of all blocks before (benchmarks/README.md).
  """
  return jax.lax.optimization_barrier(x) if use_matrix_forms() else x


def _pads(x, kernel, stride, padding, dilation):
  """Return ((top, bottom), (left, right)) of a convolution over f[B, H, W, C].

  SAME gives ceil(size / stride) outputs; what is odd of it comes last.
  """
  if padding != 'SAME':
    return ((padding, padding),) * 2
  reach = (kernel - 1) * dilation
  totals = (
    jax.core.max_dim((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
    for size in x.shape[1:3]
  )
  return tuple((total // 2, total - total // 2) for total in totals)


def drop_path(module: nn.Module, x: Array, rate: float) -> Array:
  """Leave f[B, ...] out of a sum for some images, in training (drop path).

  Kept ones are divided by their chance, so that the mean stays. Nothing is
  dropped where the module has no random stream 'drop_path', as in a teacher.
  """
  if not rate or not module.has_rng('drop_path'):
    return x
  shape = (len(x), *[1] * (x.ndim - 1))
  keep = jax.random.bernoulli(module.make_rng('drop_path'), 1 - rate, shape)
  return jnp.where(keep, x / (1 - rate), 0)


def conv(
  x: Array, kernel: Array, stride: int, padding: Padding, dilation: int = 1
) -> Array:
  """Convolve f[B, H, W, I] with f[k, k, I, O], in the form that is fastest.

  A kernel f[k, k, 1, I] convolves each channel by itself.
  """
  k, channels = kernel.shape[0], x.shape[-1]
  pads = _pads(x, k, stride, padding, dilation)
  if padding == 'SAME' and of_any_size(x):  # a convolution's own are numbers
    x, pads = jnp.pad(x, ((0, 0), *pads, (0, 0))), ((0, 0), (0, 0))
  depthwise = kernel.shape[2] < channels
  if use_matrix_forms():
    if depthwise:
      return matrix_forms.depthwise(x, kernel[:, :, 0], stride, pads, dilation)
    if k == 1 and padding == 0:
      return matrix_forms.product(x[:, ::stride, ::stride], kernel[0, 0])
    if (k, stride, padding, dilation) == (4, 2, 1, 1):
      return matrix_forms.conv_4x4_stride_2(x, kernel)
    if (k, stride, padding) == (3, 1, dilation):
      return matrix_forms.conv_3x3(x, kernel, dilation)
    return matrix_forms.conv(x, kernel, stride, pads, dilation)
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    pads,
    rhs_dilation=(dilation, dilation),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=channels if depthwise else 1,
  )


def max_pool(x: Array, ceil: bool) -> Array:
  """Pool f[B, H, W, C] to f[B, H', W', C]: 3x3, stride 2, padding 1, maximum.

  `ceil` is torch's ceil_mode. The padding is -inf, and never wins.
  """
  pads = [(1, 1 + ((size + 1) % 2 if ceil else 0)) for size in x.shape[1:3]]
  if of_any_size(x):  # a window's own padding is numbers
    wide = ((0, 0), *pads, (0, 0))
    x = jnp.pad(x, wide, constant_values=-jnp.inf)
    pads = [(0, 0), (0, 0)]
  return jax.lax.reduce_window(
    x,
    -jnp.inf,
    jax.lax.max,
    (1, 3, 3, 1),
    (1, 2, 2, 1),
    ((0, 0), *pads, (0, 0)),
  )


def box_means(x: Array, sides: Sequence[int]) -> Array:
  """Return the means of boxes, without those that an edge cuts.

  Args:
    x: f[B, H, W, C].
    sides: (height, width) of a box.

  Returns:
    f[B, H // height, W // width, C].
  """
  rows, columns = (
    n // side for n, side in zip(x.shape[1:3], sides, strict=True)
  )
  whole = x[:, : rows * sides[0], : columns * sides[1]]
  boxes = whole.reshape(len(x), rows, sides[0], columns, sides[1], -1)
  return boxes.mean((2, 4))


@jax.named_scope('resize')  # so that a profile tells it from the network
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


def scaled(side: int, factor: float) -> int:
  """Return int(side * factor), also of a side that is known when it runs alone.

  Of that the factor is a fraction with a denominator of 100 at most.
  """
  if not export.is_symbolic_dim(side):
    return int(side * factor)
  ratio = fractions.Fraction(factor).limit_denominator(100)
  return side * ratio.numerator // ratio.denominator


def _interpolation(
  small: int, large: int, align_corners: bool
) -> np.ndarray | Array:
  """Return f32[large, small], the weight of each input in each output."""
  if export.is_symbolic_dim(small) or export.is_symbolic_dim(large):
    return _interpolation_of_any(small, large, align_corners)
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


def _interpolation_of_any(small, large, align_corners):
  """Return f32[large, small] of sides that are known when it runs alone.

  Where an output reads is a fraction of whole numbers, so that the weights are
  as exact as those of known sides.
  """
  output = jnp.arange(large)
  if align_corners:
    read, parts = output * (small - 1), jax.core.max_dim(large - 1, 1)
  else:
    read, parts = (2 * output + 1) * small - large, 2 * large
  read = jnp.clip(read, 0, (small - 1) * parts)[:, None]
  low, part = jax.lax.div(read, parts), jax.lax.rem(read, parts) / parts
  inputs = jnp.arange(small)
  nearest = jnp.where(inputs == low, 1 - part, 0)
  return nearest + jnp.where(inputs == low + 1, part, 0)
