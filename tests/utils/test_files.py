"""Files are written whole, or not at all."""

import json

import numpy as np
import pytest

from jaxuda.utils import files
from jaxuda.utils.errors import UserError


@pytest.fixture
def path(tmp_path):
  path = tmp_path / 'new' / 'x.json'
  files.write_json(path, {'a': 1})
  return path


def test_json_and_csv(path):
  assert json.loads(path.read_text()) == {'a': 1}
  files.write_csv(path.with_name('x.csv'), ['a', 'b'], [[1, None], ['x,y', 2]])
  assert path.with_name('x.csv').read_text() == 'a,b\n1,\n"x,y",2\n'
  assert {p.name for p in path.parent.iterdir()} == {'x.json', 'x.csv'}


@pytest.mark.parametrize(
  ('error', 'seen'),
  [
    (OSError(28, 'No space left on device'), UserError),
    (KeyboardInterrupt(), KeyboardInterrupt),
    (ValueError('no number'), ValueError),
  ],
)
def test_what_fails_leaves_the_old_file(error, seen, path):
  def write_half(file):
    file.write_text('half')
    raise error

  before = path.read_bytes()
  with pytest.raises(seen) as raised:
    files.write(path, write_half)
  if seen is UserError:
    assert str(raised.value) == f'cannot write {path}: {error.strerror}.'
  assert path.read_bytes() == before
  assert list(path.parent.iterdir()) == [path]


def test_below_a_file(path):
  with pytest.raises(UserError, match=f'cannot write .*: {path} is not a fol'):
    files.write_text(path / 'y.txt', 'text')


def test_arrays(tmp_path):
  """Equal ones give equal files; NumPy reads them, and no damage is taken."""
  path, array = (
    tmp_path / 'a.npz',
    np.arange(12, dtype=np.float16).reshape(3, 4),
  )
  files.write_array(path, array)
  whole = path.read_bytes()
  with np.load(path) as found:
    np.testing.assert_array_equal(found['array'], array)
  files.write_array(path, array)
  assert path.read_bytes() == whole
  told = 0
  changed = [
    whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :]
    for i in range(len(whole))
  ]
  for content in [*changed, *(whole[:i] for i in range(len(whole)))]:
    path.write_bytes(content)
    try:
      found = files.read_array(path)
    except UserError as e:
      assert str(e).startswith(f'{path} is damaged (')
      told += 1
      continue
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, array)
  assert told > len(whole)
