"""Layers against XLA's convolutions, NumPy and numbers from torch 2.13."""

import functools

import by_hand
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxuda.models import layers
from jaxuda.models.decoders import deeplab_v2
from jaxuda.models.encoders import resnet
from jaxuda.utils import xla

RNG = np.random.default_rng(0)


def normal(*shape):
  return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture(autouse=True)
def matrix_forms(monkeypatch):
  # On every backend, or the test would compare XLA's convolution with itself.
  monkeypatch.setattr(layers, 'use_matrix_forms', lambda: True)


def lax_conv(x, kernel, stride, padding, dilation):
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    [(padding, padding)] * 2,
    rhs_dilation=(dilation, dilation),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    precision='highest',
  )


def assert_same_function(ours, reference, *arguments):
  """Equal values, and equal gradients under a random cotangent."""
  cotangent = normal(*jax.eval_shape(reference, *arguments).shape)

  @jax.jit
  def both(arguments):
    results = []
    for function in (ours, reference):
      y, pull = jax.vjp(function, *arguments)
      results.append((y, pull(cotangent)))
    return results

  mine, theirs = map(jax.tree.leaves, both(arguments))
  assert len(mine) == 1 + len(arguments)
  for one, other in zip(mine, theirs, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize('size', [(8, 10), (7, 9), (6, 11), (1, 1)])
@pytest.mark.parametrize('stride', [1, 2])
def test_1x1_convolution_as_a_product(size, stride):
  assert_same_function(
    lambda x, k: layers.conv(x, k, stride, 0),
    lambda x, k: lax_conv(x, k, stride, 0, 1),
    normal(2, *size, 3),
    normal(1, 1, 3, 5),
  )


@pytest.mark.parametrize('size', [(8, 10), (7, 9), (2, 3)])
@pytest.mark.parametrize('dilation', [1, 2, 4])
def test_3x3_convolution_with_products_for_its_kernel(
  size, dilation, monkeypatch
):
  monkeypatch.setattr('jaxuda.models.matrix_forms.MIN_CHANNELS', 3)
  assert_same_function(
    lambda x, k: layers.conv(x, k, 1, dilation, dilation),
    lambda x, k: lax_conv(x, k, 1, dilation, dilation),
    normal(2, *size, 3),
    normal(3, 3, 3, 5),
  )


@pytest.mark.parametrize('size', [(8, 10), (7, 9), (6, 11), (2, 3)])
def test_4x4_stride_2_convolution_in_blocks(size):
  assert_same_function(
    lambda x, k: layers.conv(x, k, 2, 1),
    lambda x, k: lax_conv(x, k, 2, 1, 1),
    normal(2, *size, 3),
    normal(4, 4, 3, 5),
  )


# The second map is no wider than the second dilation, the last than none: only
# the centre taps of its kernels read the image.
@pytest.mark.slow
@pytest.mark.parametrize('size', [(13, 20), (8, 7), (1, 5), (2, 3)])
def test_aspp_as_shifted_products(size):
  dilations = (3, 7, 12)
  module = deeplab_v2.ASPP(4, dilations)
  x = normal(2, *size, 3)
  params = jax.tree.map(
    lambda p: normal(*p.shape), module.init(jax.random.key(0), x)['params']
  )

  def reference(x, params):
    branches = [params[f'conv2d_list_{i}'] for i in range(3)]
    return sum(
      lax_conv(x, branch['kernel'], 1, d, d) + branch['bias']
      for branch, d in zip(branches, dilations, strict=True)
    )

  def flat(function):
    leaves, tree = jax.tree.flatten(params)
    return lambda x, *p: function(x, jax.tree.unflatten(tree, p)), leaves

  ours, leaves = flat(lambda x, p: module.apply({'params': p}, x))
  theirs, _ = flat(reference)
  assert_same_function(ours, theirs, x, *leaves)
  np.testing.assert_allclose(
    ours(x, *leaves), by_hand.aspp(x, params, dilations), atol=1e-4
  )


@pytest.mark.parametrize(
  ('kernel', 'stride', 'padding', 'dilation'),
  [(7, 2, 3, 1), (3, 1, 4, 4), (1, 2, 0, 1), (4, 2, 1, 1)],
)
def test_conv_pads_as_torch(kernel, stride, padding, dilation):
  x = normal(1, 9, 12, 2)
  module = layers.Conv(3, kernel, stride, padding, dilation, use_bias=True)
  params = module.init(jax.random.key(0), x)['params']
  assert np.abs(params['kernel']).max() <= (2 * kernel**2) ** -0.5
  expected = by_hand.conv(x, params['kernel'], stride, padding, dilation)
  y = module.apply({'params': params}, x)
  np.testing.assert_allclose(y, expected + params['bias'], atol=1e-5)


@pytest.mark.parametrize('ceil', [True, False])
@pytest.mark.parametrize('size', [(8, 9), (7, 6), (1, 2)])
def test_max_pool(size, ceil):
  x = normal(2, *size, 3) - 5  # negative: the padding must not win
  y = layers.max_pool(jnp.array(x), ceil)
  np.testing.assert_array_equal(y, by_hand.max_pool(x, ceil).astype('f4'))


def test_max_pool_fixture():
  ramp = jnp.arange(360.0).reshape(1, 360, 1, 1)
  rounded_up = layers.max_pool(ramp, ceil=True)[0, :, 0, 0]
  assert rounded_up.shape == (181,)
  assert rounded_up[-3:].tolist() == [357, 359, 359]
  assert layers.max_pool(ramp, ceil=False).shape[1] == 180


def test_resize_fixtures():
  x = jnp.array([[-1, 0.25], [-0.25, 1]]).reshape(1, 2, 2, 1)
  expected = [
    [-1, -0.6875, -0.375, -0.0625, 0.25],
    [-0.625, -0.3125, 0, 0.3125, 0.625],
    [-0.25, 0.0625, 0.375, 0.6875, 1],
  ]
  y = layers.resize(x, (3, 5))[0, :, :, 0]
  np.testing.assert_allclose(y, expected, atol=1e-7)
  expected = [
    [-1, -0.875, -0.375, 0.125, 0.25],
    [-0.625, -0.5, 0, 0.5, 0.625],
    [-0.25, -0.125, 0.375, 0.875, 1],
  ]
  y = layers.resize(x, (3, 5), align_corners=False)[0, :, :, 0]
  np.testing.assert_allclose(y, expected, atol=1e-7)
  x = jnp.array([0.0, 1, 4]).reshape(1, 1, 3, 1)
  y = layers.resize(x, (1, 8))[0, 0, :, 0]
  expected = [0, 0.2857, 0.5714, 0.8571, 1.4286, 2.2857, 3.1429, 4]
  np.testing.assert_allclose(y, expected, atol=5e-5)


def test_resize_of_single_pixels():
  one = jnp.array([3.0, 7.0]).reshape(1, 1, 1, 2)
  y = layers.resize(one, (3, 4))
  np.testing.assert_array_equal(y, np.broadcast_to(one, (1, 3, 4, 2)))
  ramp = jnp.arange(6.0).reshape(1, 2, 3, 1)
  y = layers.resize(ramp, (1, 1))  # torch takes the first corner
  assert y.ravel().tolist() == [0.0]


def test_resize_up_and_same():
  """A plane stays a plane, corners stay corners, the same size is untouched."""
  rows, columns = np.mgrid[0:91, 0:161]
  plane = (2.0 * rows - columns)[None, ..., None].astype(np.float32)
  y = layers.resize(jnp.array(plane), (720, 1280))
  assert y.shape == (1, 720, 1280, 1)
  rows, columns = np.mgrid[0:720, 0:1280]
  expected = 2.0 * rows * 90 / 719 - columns * 160 / 1279
  np.testing.assert_allclose(y[0, ..., 0], expected, atol=1e-4)
  same = layers.resize(jnp.array(plane), (91, 161))
  np.testing.assert_array_equal(same, plane)


@pytest.mark.parametrize(
  ('size', 'kernel', 'stride', 'padding', 'dilation'),
  [
    ((9, 12), 3, 1, 'SAME', 1),
    ((9, 12), 3, 2, 'SAME', 1),  # symmetric in height, not in width
    ((10, 12), 5, 2, 'SAME', 1),
    ((10, 11), 5, 1, 'SAME', 2),
    ((10, 13), 3, 2, 1, 1),
    ((7, 12), 3, 1, 6, 6),
  ],
)
def test_depthwise_as_shifted_products(size, kernel, stride, padding, dilation):
  """Value and both gradients are those of XLA's grouped convolution."""
  x, k = normal(2, *size, 5), normal(kernel, kernel, 1, 5)
  pads = padding if padding == 'SAME' else ((padding, padding),) * 2

  def reference(x, k):
    return jax.lax.conv_general_dilated(
      x,
      k,
      (stride, stride),
      pads,
      rhs_dilation=(dilation, dilation),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      feature_group_count=5,
      precision='highest',
    )

  assert_same_function(
    lambda x, k: layers.conv(x, k, stride, padding, dilation), reference, x, k
  )


def test_drop_path_leaves_out_whole_images():
  class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
      return layers.drop_path(self, x, 0.25)

  x = jnp.ones((400, 2, 3, 1))
  found = np.asarray(Net().apply({}, x, rngs={'drop_path': jax.random.key(0)}))
  assert set(np.unique(found)) == {0, np.float32(1 / 0.75)}
  assert (found == found[:, :1, :1]).all()
  assert (found > 0).mean() == pytest.approx(0.75, abs=0.06)
  np.testing.assert_array_equal(Net().apply({}, x), x)  # a teacher


def of_any_size(function, x):
  """What a function that was exported for any size computes of an array."""
  shape = export.symbolic_shape(
    f'{len(x)}, h, w, {x.shape[-1]}', constraints=['h >= 8', 'w >= 8']
  )
  like = jax.ShapeDtypeStruct(shape, x.dtype)
  return export.export(jax.jit(function))(like).call(x)


@pytest.mark.parametrize('size', [(8, 11), (13, 10)])
@pytest.mark.parametrize('align_corners', [True, False])
def test_resizing_of_any_size_is_that_of_each(size, align_corners):
  x = np.random.default_rng(0).random((1, *size, 2), np.float32)

  def both_ways(x):
    double = [2 * side + 1 for side in x.shape[1:3]]
    half = [(side + 1) // 2 for side in x.shape[1:3]]
    return [layers.resize(x, to, align_corners) for to in (double, half)]

  pairs = zip(of_any_size(both_ways, x), both_ways(x), strict=True)
  for found, expected in pairs:
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('size', [(8, 11), (13, 10)])
def test_convolutions_of_any_size_are_those_of_each(size):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((1, *size, 4), np.float32)
  whole, each = (rng.standard_normal((3, 3, i, 4), np.float32) for i in (4, 1))

  def convolved(x):
    same = layers.conv(x, whole, 2, 'SAME')
    by_channel = layers.conv(x, each, 2, 'SAME')
    pooled = [layers.max_pool(x, ceil) for ceil in (True, False)]
    return [same, by_channel, *pooled]

  pairs = zip(of_any_size(convolved, x), convolved(x), strict=True)
  for found, expected in pairs:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def additions(blocks):
  """Return how many sums a program has that differentiates residual blocks."""

  def loss(kernels):
    x = jnp.ones((2, 4, 4, 3))
    for kernel in kernels:
      y = layers.conv(x, kernel, 1, 0)
      x = layers.computed_once(nn.relu(x + y))
    return jnp.square(x).mean()

  gradient = xla.jit(jax.grad(loss))
  program = gradient.lower([normal(1, 1, 3, 3) for _ in range(blocks)])
  return program.compile().as_text().count(' add(')


def test_sums_of_blocks_are_computed_once():
  """Or the gradient of the twelfth would add up the eleven before it."""
  four, eight, twelve = map(additions, (4, 8, 12))
  assert twelve - eight == eight - four


def test_a_resnets_blocks_are_computed_once():
  net = resnet.Encoder((1, 2, 3, 1), 2, 'caffe', 'fixed', 'he')
  x = normal(1, 16, 16, 3)
  run = functools.partial(net.init_with_output, train=False)
  program = jax.make_jaxpr(run)(jax.random.key(0), x)
  assert str(program).count('optimization_barrier') == 7


def test_convolutions_as_they_come(monkeypatch):
  monkeypatch.undo()
  assert layers.use_matrix_forms()
  with layers.plain_convolutions():
    assert not layers.use_matrix_forms()
  assert layers.use_matrix_forms()


def test_a_scaled_side_of_any_size():
  sides = np.arange(64, 4096)
  for factor in (0.5, 0.75, 1.1, 1.25, 1.5, 2.0):
    [side] = export.symbolic_shape('side')
    of_any = str(layers.scaled(side, factor))
    exact = [
      eval(of_any, {'side': n, 'floordiv': lambda a, b: a // b})
      for n in sides.tolist()
    ]
    assert exact == [int(n * factor) for n in sides.tolist()]


def test_a_parameter_of_another_shape_is_refused():
  net = layers.Conv(2, 3)
  wrong = {'params': {'kernel': jnp.zeros((3, 3, 4, 2))}}
  with pytest.raises(ValueError, match=r'^kernel is \(3, 3, 4, 2\), and not '):
    net.apply(wrong, jnp.zeros((1, 5, 5, 3)))
