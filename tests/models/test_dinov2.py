"""DINOv2's sizes, as published, its positions, and a forward pass in NumPy."""

import by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import attention, conv, dense, gelu, layer_norm
from jax import export
from networks import count, random_variables

from jaxuda.models.decoders import vfm_uda
from jaxuda.models.encoders import dinov2


def shapes(net, *inputs):
  return jax.eval_shape(
    lambda: net.init_with_output(jax.random.key(0), *inputs)
  )


def expected_parameters(width, depth, registers=0):
  """Those of the published key list: 14x14 patches, 1370 positions."""
  block = 4 * width  # two norms
  block += 3 * width * width + 3 * width + width * width + width  # attention
  block += 2 * width  # two layer scales
  block += 8 * width * width + 5 * width  # the feed-forward network
  outside = 3 * 14 * 14 * width + width  # patches
  outside += (1370 + 1 + 1 + registers) * width + 2 * width
  return depth * block + outside


@pytest.mark.parametrize(
  ('size', 'width', 'depth', 'millions'),
  [('s', 384, 12, 22), ('b', 768, 12, 86), ('l', 1024, 24, 304)],
)
def test_parameters(size, width, depth, millions):
  net = dinov2.Encoder(size, False, 1.1)
  maps, variables = shapes(net, jnp.zeros((1, 100, 200, 3)), False)
  found = count(variables['params'])
  assert found == expected_parameters(width, depth)
  assert found / 1e6 == pytest.approx(millions, abs=1)
  assert maps['patches'].shape == (1, 7, 15, width)


def test_registers_are_four_tokens_more():
  net = dinov2.Encoder('s', True, 1.0)
  maps, variables = shapes(net, jnp.zeros((1, 28, 42, 3)), False)
  assert count(variables['params']) == expected_parameters(384, 12, 4)
  assert maps['patches'].shape == (1, 2, 3, 384)


def test_patches_of_a_side():
  assert dinov2.patches(1024, 1.1) == 80  # VFM-UDA: 1120 pixels
  assert dinov2.patches(518, 1.0) == 37
  assert dinov2.patches(5, 1.0) == 1


def test_positions_without_registers():
  """80 patches read at (i + 0.5) 37 / 80.1 - 0.5, by A = -0.75."""
  weights = dinov2._bicubic(80, antialias=False)
  at = np.array([-0.26903870, 0.19288390, 36.22284645])
  cell = np.floor(at)[:, None] + np.arange(-1, 3)
  x = np.abs(cell - at[:, None])
  near = 1.25 * x**3 - 2.25 * x**2 + 1
  far = -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
  expected = np.zeros((3, 37))
  for row, (cells, values) in enumerate(
    zip(cell, np.where(x <= 1, near, far), strict=True)
  ):
    for c, value in zip(cells, values, strict=True):
      expected[row, int(np.clip(c, 0, 36))] += value
  np.testing.assert_allclose(weights[[0, 1, 79]], expected, atol=1e-6)


@pytest.mark.parametrize(
  ('size', 'registers', 'expected'),
  [
    ((5, 80), False, (-0.350943, -0.431858, -0.454902, -0.703595)),
    ((5, 80), True, (0.081299, 0.081934, -0.007967, 0.06738)),
    ((50, 20), False, (0.063785, 0.744314, 0.288263, -0.208717)),
    ((50, 20), True, (0.13146, 0.718722, 0.25106, -0.237768)),
  ],
)
def test_positions_are_torchs(size, registers, expected):
  """torch 2.13's interpolate in float64, mode='bicubic'.

  Without registers scale_factor=(n + 0.1) / 37, with them size and antialias.
  """
  table = np.sin(np.arange(37 * 37).reshape(37, 37, 1) * 0.37)
  found = dinov2.interpolate(jnp.asarray(table, jnp.float32), size, registers)
  assert found.shape == (*size, 1)
  some = [found[at][0] for at in ((0, 0), (0, 1), (1, 3), (-1, -1))]
  np.testing.assert_allclose(some, expected, atol=2e-5)


def test_cubic_weights():
  distances = np.array([-1.3, -0.3, 0.7, 1.7])
  for a, expected in (
    (-0.75, (-0.11025, 0.83125, 0.32625, -0.04725)),
    (-0.5, (-0.0735, 0.8155, 0.2895, -0.0315)),
  ):
    np.testing.assert_allclose(dinov2._cubic(distances, a), expected)


def test_the_trained_size_has_the_positions_as_they_are():
  table = jnp.arange(37 * 37 * 2.0).reshape(37, 37, 2)
  assert dinov2.interpolate(table, (37, 37), False) is table


@pytest.mark.parametrize('registers', [False, True])
def test_a_transformer_in_numpy(registers, monkeypatch):
  size = dinov2._Size(8, 2, 2)
  monkeypatch.setitem(dinov2._SIZES, 's', size)
  net = dinov2.Encoder('s', registers, 1.0)
  x = np.random.default_rng(1).standard_normal((2, 28, 45, 3)).astype('f4')
  variables = random_variables(shapes(net, x, False)[1])
  found = net.apply(variables, x, True)['patches']
  p = variables['params']
  # 45 pixels are three patches of 14, and are resized to 42.
  x = by_hand.resize(x, 28, 42)
  x = conv(x, p['patch_embed']['kernel'], 14) + p['patch_embed']['bias']
  table = p['pos_embed'][0, 1:].reshape(37, 37, 8)
  rows, columns = (dinov2._bicubic(n, registers) for n in (2, 3))
  x = x + np.einsum('hwc,Hh,Ww->HWc', table, rows, columns)
  first = [p['cls_token'] + p['pos_embed'][:, :1]]
  first += [p['register_tokens']] if registers else []
  first = np.broadcast_to(np.concatenate(first, 1), (2, 1 + 4 * registers, 8))
  x = np.concatenate([first, x.reshape(2, 6, 8)], 1)
  for i in range(2):
    b = p[f'blocks_{i}']
    qkv = dense(layer_norm(x, b['norm1'], 1e-6), b['attn']['qkv'])
    y = attention(qkv[..., :8], qkv[..., 8:16], qkv[..., 16:], 2)
    x = x + dense(y, b['attn']['proj']) * b['ls1']['gamma']
    y = dense(layer_norm(x, b['norm2'], 1e-6), b['mlp']['fc1'])
    x = x + dense(gelu(y), b['mlp']['fc2']) * b['ls2']['gamma']
  x = layer_norm(x, p['norm'], 1e-6)[:, 1 + 4 * registers :]
  expected = x.reshape(2, 2, 3, 8)
  np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(x).max())


def test_the_decoder_in_numpy():
  net = vfm_uda.Decoder(5, 'patches', ('main',))
  x = np.random.default_rng(1).standard_normal((2, 3, 4, 8)).astype('f4')
  variables = random_variables(shapes(net, {'patches': x}, False)[1])
  logits, fused = net.apply(variables, {'patches': x}, True)
  p = variables['params']

  def enlarged(x, params):
    """Each cell gives the four of torch's ConvTranspose2d(2, stride=2)."""
    b, h, w, _ = x.shape
    kernel = np.float64(params['DenseGeneral_0']['kernel'])
    y = np.zeros((b, 2 * h, 2 * w, kernel.shape[-1]))
    for i in range(2):
      for j in range(2):
        y[:, i::2, j::2] = x @ kernel[:, i, j]
    return y + params['bias']

  x = gelu(layer_norm(enlarged(x, p['upscale_0']), p['norm_0'], 1e-6))
  x = layer_norm(enlarged(x, p['upscale_1']), p['norm_1'], 1e-6)
  x = layer_norm(conv(x, p['conv']['kernel'], 1, 1), p['norm_2'], 1e-6)
  assert x.shape == (2, 12, 16, 2)
  np.testing.assert_allclose(fused, x, atol=1e-5 * np.abs(x).max())
  x = conv(x, p['conv_seg']['kernel'])
  np.testing.assert_allclose(logits['main'], x, atol=1e-5 * np.abs(x).max())


@pytest.mark.parametrize('registers', [False, True])
@pytest.mark.parametrize('size', [(9, 12), (40, 37), (37, 37)])
def test_positions_of_any_size_are_those_of_each(size, registers):
  rng = np.random.default_rng(0)
  table = rng.standard_normal((37, 37, 2)).astype(np.float32)

  def interpolated(x):
    return dinov2.interpolate(table, x.shape, registers)

  shape = export.symbolic_shape('h, w', constraints=['h >= 4', 'w >= 4'])
  exported = export.export(jax.jit(interpolated))(
    jax.ShapeDtypeStruct(shape, np.float32)
  )
  x = np.zeros(size, np.float32)
  np.testing.assert_allclose(exported.call(x), interpolated(x), atol=1e-4)
