"""Convolutions as the matrix products that XLA's CPU backend is fast at.

The same sums as the convolutions, in another order. `layers.conv` decides where
they are used.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

Array = jax.Array

# Below so many channels, in or out, a 3x3 kernel's gradient is faster as it
# comes: products of an image's three are too narrow.
MIN_CHANNELS = 16
# Wider maps take longer to transpose than a product gains by it.
MAX_TRANSPOSED = 700


def product(x: Array, kernel: Array) -> Array:
  """Return the 1x1 convolution f[B, H, W, I] @ f[I, O], f[B, H, W, O]."""
  return _product(_rows(x), kernel).reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def _product(x, kernel):
  """f[N, I] @ f[I, O] -> f[N, O]."""
  return x @ kernel


def _product_forward(x, kernel):
  return x @ kernel, (x, kernel)


def _product_backward(kept, gradient):
  x, kernel = kept
  of_x = gradient @ kernel.T
  if min(kernel.shape) > MAX_TRANSPOSED:
    return of_x, x.T @ gradient
  if kernel.shape[0] <= kernel.shape[1]:
    return of_x, _transposed(x) @ gradient
  of_kernel = _transposed(gradient) @ x
  return of_x, jax.lax.optimization_barrier(of_kernel).T


_product.defvjp(_product_forward, _product_backward)


def _rows(x):
  """f[B, H, W, C] -> f[B H W, C]."""
  return x.reshape(-1, x.shape[-1])


def _transposed(x):
  """f[N, C] -> f[C, N], written out.

  Without the barriers the compiler folds the transposition into the product
  that follows, which is then slower by a fifth, or what made x into the
  transposition, which is then slower by up to a hundred times.
  """
  barrier = jax.lax.optimization_barrier
  return barrier(barrier(x).T)


def conv_3x3(x: Array, kernel: Array, dilation: int) -> Array:
  """Convolve by a 3x3 kernel with stride 1; the size stays.

  f[B, H, W, I], f[3, 3, I, O] -> f[B, H, W, O]. Where it is wide enough, the
  kernel's gradient is nine matrix products, one for each tap.
  """
  if min(kernel.shape[2:]) < MIN_CHANNELS:
    return _spread(x, kernel, dilation, dilation)
  return _by_taps(x, kernel, dilation, dilation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def conv(
  x: Array,
  kernel: Array,
  stride: int,
  pads: tuple[tuple[int, int], tuple[int, int]],
  dilation: int,
) -> Array:
  """Convolve f[B, H, W, I] by f[k, k, I, O], with gradients in plain form.

  XLA's CPU backend has fast convolutions of plain dimensions alone, and turns
  others into these only outside of loops; within, those of automatic
  differentiation fall back to plain loops of scalars.
  """
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    pads,
    rhs_dilation=(dilation, dilation),
    dimension_numbers=_PLAIN,
  )


_PLAIN = ('NHWC', 'HWIO', 'NHWC')


def _conv_forward(x, kernel, stride, pads, dilation):
  return conv(x, kernel, stride, pads, dilation), (x, kernel)


def _conv_backward(stride, pads, dilation, kept, gradient):
  x, kernel = kept
  k = kernel.shape[0]
  reach = (k - 1) * dilation
  # The rows that the gradient spans where the stride is undone.
  spans = [stride * (n - 1) + 1 for n in gradient.shape[1:3]]
  sides = list(zip(pads, x.shape[1:3], spans, strict=True))
  of_x = jax.lax.conv_general_dilated(
    gradient,
    kernel[::-1, ::-1].swapaxes(2, 3),
    (1, 1),
    [(reach - low, n + low - span) for (low, _), n, span in sides],
    lhs_dilation=(stride, stride),
    rhs_dilation=(dilation, dilation),
    dimension_numbers=_PLAIN,
  )
  # The images are summed over as channels are, and channels stand for images.
  of_kernel = jax.lax.conv_general_dilated(
    x.transpose(3, 1, 2, 0),
    gradient.transpose(1, 2, 0, 3),
    (dilation, dilation),
    [(low, reach + span - n - low) for (low, _), n, span in sides],
    rhs_dilation=(stride, stride),
    dimension_numbers=_PLAIN,
  )
  return of_x, of_kernel.transpose(1, 2, 0, 3)


conv.defvjp(_conv_forward, _conv_backward)


def _spread(x, kernel, pad, dilation):
  """Convolve with stride 1 and one padding."""
  return conv(x, kernel, 1, ((pad, pad),) * 2, dilation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_taps(x, kernel, pad, dilation):
  """Convolve with stride 1; the kernel's gradient is a product for each tap."""
  return _spread(x, kernel, pad, dilation)


def _by_taps_forward(x, kernel, pad, dilation):
  return _by_taps(x, kernel, pad, dilation), (x, kernel)


def _by_taps_backward(pad, dilation, kept, gradient):
  x, kernel = kept
  k, (h, w) = kernel.shape[0], x.shape[1:3]
  reach = (k - 1) * dilation
  side = (reach - pad,) * 2
  wide = jnp.pad(gradient, ((0, 0), side, side, (0, 0)))
  columns = _transposed(_rows(x))
  # Output r reads row r - pad + i dilation by tap i, so that input m meets the
  # gradient of m + pad - i dilation: this row of the padded one, for m = 0.
  starts = [reach - i * dilation for i in range(k)]
  taps = [
    columns @ _rows(wide[:, i : i + h, j : j + w])
    for i in starts
    for j in starts
  ]
  _, pull = jax.vjp(lambda x: _spread(x, kernel, pad, dilation), x)
  return *pull(gradient), jnp.stack(taps).reshape(kernel.shape)


_by_taps.defvjp(_by_taps_forward, _by_taps_backward)


def conv_4x4_stride_2(x: Array, kernel: Array) -> Array:
  """Convolve by 4x4, stride 2, padding 1: as a 2x2 kernel on 2x2 blocks.

  f[B, H, W, I], f[4, 4, I, O] -> f[B, H // 2, W // 2, O]; the same sums.
  """
  b, h, w, i = x.shape
  h2, w2 = h // 2, w // 2
  # An odd size leaves its last padded row (column) unread, as torch does.
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  x = x[:, : 2 * h2 + 2, : 2 * w2 + 2]
  x = x.reshape(b, h2 + 1, 2, w2 + 1, 2, i).transpose(0, 1, 3, 2, 4, 5)
  x = x.reshape(b, h2 + 1, w2 + 1, 4 * i)
  o = kernel.shape[-1]
  kernel = kernel.reshape(2, 2, 2, 2, i, o).transpose(0, 2, 1, 3, 4, 5)
  return _by_taps(x, kernel.reshape(2, 2, 4 * i, o), 0, 1)


def shifted_sum(
  x: Array, kernels: Sequence[Array], dilations: Sequence[int]
) -> Array:
  """Dilated 3x3 convolutions as one matrix product, then shift and add.

  f[B, H, W, I], kernels f[3, 3, I, O] -> f[B, H, W, O], their results' sum. A
  tap that is shifted further than the map is wide reads only padding, so it
  is left out altogether.
  """
  h, w = x.shape[1:3]
  taps = [
    (kernel[i, j], (i - 1) * d, (j - 1) * d)
    for kernel, d in zip(kernels, dilations, strict=True)
    for i in range(3)
    for j in range(3)
    if abs(i - 1) * d < h and abs(j - 1) * d < w
  ]
  k = kernels[0].shape[-1]
  maps = product(x, jnp.concatenate([tap for tap, _, _ in taps], axis=-1))
  total = jnp.zeros((*x.shape[:3], k), maps.dtype)
  for n, (_, dy, dx) in enumerate(taps):
    part = maps[..., n * k : (n + 1) * k]
    part = part[:, max(dy, 0) : h + min(dy, 0), max(dx, 0) : w + min(dx, 0)]
    pad = ((0, 0), (max(-dy, 0), max(dy, 0)), (max(-dx, 0), max(dx, 0)))
    total = total + jnp.pad(part, (*pad, (0, 0)))
  return total


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def depthwise(
  x: Array,
  kernel: Array,
  stride: int,
  pads: tuple[tuple[int, int], tuple[int, int]],
  dilation: int,
) -> Array:
  """Convolve each channel by itself, as a sum of shifted products.

  f[B, H, W, C], f[k, k, C] -> f[B, H', W', C]; the gradients, too: XLA's CPU
  convolutions of so many groups are far slower.
  """
  x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  reach = (kernel.shape[0] - 1) * dilation
  size = tuple((n - reach - 1) // stride + 1 for n in x.shape[1:3])
  return sum(
    _shifted(x, (i * dilation, j * dilation), size, stride) * kernel[i, j]
    for i in range(kernel.shape[0])
    for j in range(kernel.shape[1])
  )


def _shifted(x, start, size, stride):
  """Return every stride-th row and column of a part, f[B, *size, C]."""
  (y0, x0), (h, w) = start, size
  return jax.lax.slice(
    x,
    (0, y0, x0, 0),
    (
      x.shape[0],
      y0 + stride * (h - 1) + 1,
      x0 + stride * (w - 1) + 1,
      x.shape[3],
    ),
    (1, stride, stride, 1),
  )


def _depthwise_forward(x, kernel, stride, pads, dilation):
  return depthwise(x, kernel, stride, pads, dilation), (x, kernel)


def _depthwise_backward(stride, pads, dilation, kept, gradient):
  x, kernel = kept
  k, size = kernel.shape[0], gradient.shape[1:3]
  padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
  height = stride * (size[0] - 1) + 1

  def of_row(i):
    part = jax.lax.dynamic_slice_in_dim(padded, i * dilation, height, axis=1)
    taps = [
      _shifted(part, (0, j * dilation), size, stride) * gradient
      for j in range(k)
    ]
    return jnp.stack([tap.sum((0, 1, 2)) for tap in taps])

  # Zeros between its rows undo the stride; then the mirrored kernel passes
  # over it, from where its last tap reads the first row.
  reach = (k - 1) * dilation
  config = [
    (reach - low, n - 1 + low - stride * (m - 1), stride - 1)
    for (low, _), n, m in zip(pads, x.shape[1:3], size, strict=True)
  ]
  wide = jax.lax.pad(
    gradient, jnp.zeros((), gradient.dtype), [(0, 0, 0), *config, (0, 0, 0)]
  )
  of_x = depthwise(wide, kernel[::-1, ::-1], 1, ((0, 0), (0, 0)), dilation)
  # A loop, as fast as all taps side by side, of which each compiles by itself.
  return of_x, jax.lax.map(of_row, jnp.arange(k))


depthwise.defvjp(_depthwise_forward, _depthwise_backward)
