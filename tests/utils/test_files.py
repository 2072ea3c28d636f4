"""Files are written whole, or not at all."""

import json

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
