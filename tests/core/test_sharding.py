"""One device and several give the same training."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny

from jaxuda.utils import sharding
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  """{'1/NAME': value, '8/NAME': value, ...}, of 1 and 8 devices.

  A process of its own, because the number of devices is fixed when jax starts.
  """
  path = tmp_path_factory.mktemp('devices') / 'results.npz'
  environment = os.environ | tiny.virtual_devices(8)
  subprocess.run(
    [sys.executable, tiny.ROOT / 'tests/helpers/eight_devices.py', path],
    env=environment | {'PYTHONPATH': str(tiny.ROOT)},
    check=True,
    timeout=500,
  )
  return dict(np.load(path))


def test_devices_train_and_count_as_one(results):
  """Losses, norms, statistics (batch norm's are global) and counts.

  One test, so that one worker of pytest makes the results.
  """
  names = [k.removeprefix('8/') for k in results if k.startswith('8/')]
  assert sum(k.startswith("['params']") for k in names) > 10
  assert sum(k.startswith("['moments']") for k in names) == 10
  for name in names:
    one, eight = results[f'1/{name}'], results[f'8/{name}']
    small = 1e-3 * np.abs(one).max()
    np.testing.assert_allclose(eight, one, rtol=1e-4, atol=small, err_msg=name)
  counts = results['8/counts']
  np.testing.assert_array_equal(counts, results['1/counts'])
  # Every pixel that is not ignored: 10 of the 64 rows are.
  assert counts.sum() == 8 * 54 * 96


def test_batches_that_do_not_divide():
  mesh = sharding.make_mesh()
  sharding.check_batch('source.batch_size', 3 * mesh.size, mesh)
  for size in (0, -mesh.size):
    with pytest.raises(UserError, match=f'source.batch_size={size} must be'):
      sharding.check_batch('source.batch_size', size, mesh)


def test_put_leaves_what_is_no_array():
  batch = {'image': np.zeros((2, 3)), 'id': ['a', 'b']}
  moved = sharding.shard_batch(sharding.make_mesh())(batch)
  assert isinstance(moved['image'], jax.Array) and moved['id'] == ['a', 'b']
