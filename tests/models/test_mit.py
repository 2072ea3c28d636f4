"""MiT's and the DAFormer head's sizes, as published, and both in NumPy."""

import by_hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import count, random_variables

from jaxuda.models.decoders import daformer
from jaxuda.models.encoders import mit


@pytest.mark.parametrize(
  ('size', 'parameters'),
  [
    ('b0', 3_319_392),
    ('b1', 13_151_424),
    ('b2', 24_196_288),
    ('b3', 44_072_128),
    ('b5', 81_443_008),
  ],
)
def test_parameters(size, parameters):
  net = mit.Encoder(size, 0.1)
  image = jnp.zeros((1, 64, 96, 3))
  maps, variables = jax.eval_shape(
    lambda: net.init_with_output(jax.random.key(0), image, False)
  )
  assert count(variables['params']) == parameters
  assert [m.shape[1:3] for m in maps.values()] == [
    (16, 24), (8, 12), (4, 6), (2, 3),
  ]  # fmt: skip


def test_the_head():
  """3,712,275 parameters on MiT-B5's maps; logits at a quarter of the size."""
  net = daformer.Decoder(
    19,
    ('a', 'b', 'c', 'd'),
    256,
    (1, 6, 12, 18),
    0.1,
    ('main',),
    False,
    'batch',
  )
  maps = {
    name: jnp.zeros((1, 16 // 2**i, 24 // 2**i, channels))
    for i, (name, channels) in enumerate(
      zip('abcd', (64, 128, 320, 512), strict=True)
    )
  }
  (logits, fused), variables = jax.eval_shape(
    lambda: net.init_with_output(jax.random.key(0), maps, False)
  )
  assert count(variables['params']) == 3_712_275
  assert logits['main'].shape == (1, 16, 24, 19)
  assert fused.shape == (1, 16, 24, 256)


def block_by_hand(x, p, heads, reduction):
  """x + attention(norm(x)), then x + FFN(norm(x))."""
  b, h, w, c = x.shape
  y = by_hand.layer_norm(x, p['norm1'], 1e-6)
  a = p['attn']
  q = by_hand.dense(y, a['q']).reshape(b, h * w, c)
  if reduction > 1:
    y = by_hand.conv(y, a['sr']['kernel'], reduction) + a['sr']['bias']
    y = by_hand.layer_norm(y, a['norm'], 1e-5)
  kv = by_hand.dense(y, a['kv']).reshape(b, -1, 2 * c)
  y = by_hand.attention(q, kv[..., :c], kv[..., c:], heads)
  x = x + by_hand.dense(y.reshape(b, h, w, c), a['proj'])
  m = p['mlp']
  y = by_hand.dense(by_hand.layer_norm(x, p['norm2'], 1e-6), m['fc1'])
  y = by_hand.depthwise(y, m['dwconv']['kernel'], 1) + m['dwconv']['bias']
  return x + by_hand.dense(by_hand.gelu(y), m['fc2'])


def test_the_encoder_in_numpy():
  net = mit.Encoder('b0', 0.1)
  x = np.random.default_rng(1).standard_normal((1, 64, 96, 3)).astype('f4')
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x, False))
  variables = random_variables(shapes)
  # A teacher's pass: it trains, and has no random streams to drop paths by.
  maps = jax.jit(lambda v, x: net.apply(v, x, True))(variables, x)
  p = variables['params']
  for n, (kernel, stride) in enumerate(((7, 4), (3, 2), (3, 2), (3, 2)), 1):
    embed = p[f'patch_embed{n}']
    x = by_hand.conv(x, embed['proj']['kernel'], stride, kernel // 2)
    x = by_hand.layer_norm(x + embed['proj']['bias'], embed['norm'], 1e-5)
    for i in range(2):
      block = p[f'block{n}_{i}']
      x = block_by_hand(x, block, (1, 2, 5, 8)[n - 1], (8, 4, 2, 1)[n - 1])
    x = by_hand.layer_norm(x, p[f'norm{n}'], 1e-6)
    expected = maps[f'stage{n}']
    np.testing.assert_allclose(expected, x, atol=2e-5 * np.abs(x).max())


def test_the_head_in_numpy():
  net = daformer.Decoder(
    5, ('a', 'b'), 6, (1, 2, 3), 0.1, ('main',), False, 'running'
  )
  rng = np.random.default_rng(1)
  maps = {
    'a': rng.standard_normal((2, 8, 10, 3)).astype('f4'),
    'b': rng.standard_normal((2, 4, 5, 7)).astype('f4'),
  }
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), maps, False))
  variables = random_variables(shapes)
  logits, fused = net.apply(variables, maps, False)
  p = variables['params']
  f, s = p['fuse_layer'], variables['batch_stats']['fuse_layer']

  def conv(x, name, norm, *where):
    x = by_hand.conv(x, f[name]['kernel'], *where)
    return np.maximum(by_hand.norm(x, f[norm], s[norm]), 0)

  levels = [
    by_hand.resize(by_hand.dense(maps[n], p[f'embed_layers_{i}']), 8, 10)
    for i, n in enumerate('ab')
  ]
  x = np.concatenate(levels, -1)
  at = 'aspp_modules'
  branches = [conv(x, f'{at}_0_conv', f'{at}_0_bn')]
  for i in (1, 2):
    name = f'{at}_{i}_depthwise'
    y = by_hand.depthwise(x, f[f'{name}_conv']['kernel'], i + 1, i + 1)
    y = np.maximum(by_hand.norm(y, f[f'{name}_bn'], s[f'{name}_bn']), 0)
    branches.append(
      conv(y, f'{at}_{i}_pointwise_conv', f'{at}_{i}_pointwise_bn')
    )
  x = np.concatenate(branches, -1)
  x = conv(x, 'bottleneck_conv', 'bottleneck_bn', 1, 1)
  np.testing.assert_allclose(fused, x, atol=1e-5 * np.abs(x).max())
  x = by_hand.conv(x, p['conv_seg']['kernel']) + p['conv_seg']['bias']
  np.testing.assert_allclose(logits['main'], x, atol=1e-5 * np.abs(x).max())
