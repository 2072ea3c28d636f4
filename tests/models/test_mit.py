"""MiT's and the DAFormer head's sizes, as published."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda.models.decoders import daformer
from jaxuda.models.encoders import mit


def count(tree):
  return sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(tree))


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
