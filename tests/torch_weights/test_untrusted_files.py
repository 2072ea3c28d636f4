"""Files of tests/reference/torch that run code, and damaged ones.

Each ends in one sentence about the path, and nothing in it runs.
"""

import contextlib
import io
import pickle
import sys
import zipfile

import numpy as np
import pytest
from torch_files import assert_refused, read_bytes

from jaxuda.torch_weights import files
from jaxuda.utils.errors import UserError

HOSTILE = ['code', 'code_legacy', 'foreign']


def write_hostile(name, folder):
  """Write a file that creates `code_ran` where a pickle is trusted.

  `foreign` is args.pth with another module in the place of argparse: one whose
  import creates it.
  """
  if name == 'foreign':
    (folder / 'code_ran.py').write_text("open('code_ran', 'w').close()\n")
    whole = read_bytes('args.pth')
    assert whole.count(b'cargparse\n') == 1
    whole = whole.replace(b'cargparse\n', b'ccode_ran\n')
  else:
    whole = read_bytes(f'{name}.pth')
  path = folder / f'{name}.pth'
  path.write_bytes(whole)
  return path


@pytest.fixture
def marker(tmp_path, monkeypatch):
  """The path of what a hostile file creates."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  yield tmp_path / 'code_ran'
  sys.modules.pop('code_ran', None)


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_files_are_hostile(name, tmp_path, marker):
  """Python's own pickle, which trusts them, runs what they hold."""
  whole = write_hostile(name, tmp_path).read_bytes()
  if name == 'code':
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
      whole = archive.read('code/data.pkl')
  stream = io.BytesIO(whole)
  # A legacy file is several pickles. They end, or hold tensors, which pickle
  # alone cannot read, behind the code.
  with contextlib.suppress(Exception):
    while True:
      pickle.load(stream)
  assert marker.exists()


@pytest.mark.parametrize('name', [*HOSTILE, 'args'])
def test_hostile_files_run_nothing(name, tmp_path, marker):
  assert_refused(write_hostile(name, tmp_path))
  assert not marker.exists() and 'code_ran' not in sys.modules


def flipped(whole, at):
  return whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]


DAMAGES = {
  'cut': lambda whole: whole[: len(whole) // 2],
  'emptied': lambda whole: b'',
  'flipped in its pickle': lambda whole: flipped(whole, whole.index(b'torch')),
  'flipped at its start': lambda whole: flipped(whole, 0),
}


@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('name', ['zip', 'legacy'])
def test_damaged_files_are_named(name, damage, tmp_path):
  path = tmp_path / 'damaged.pth'
  path.write_bytes(DAMAGES[damage](read_bytes(f'{name}.pth')))
  assert_refused(path)


@pytest.mark.parametrize('name', ['zip', 'legacy'])
def test_damage_anywhere(name, tmp_path):
  """A cut file is refused, and so is a flipped byte wherever that can be told.

  A zip has sums of all that is read. A legacy file has none: a byte flipped in
  a number is another number.
  """
  path = tmp_path / 'damaged.pth'
  whole = read_bytes(f'{name}.pth')
  path.write_bytes(whole)
  intact = files.read(path)
  refused = 0
  for at in range(0, len(whole), 7):
    path.write_bytes(whole[:at])
    assert_refused(path)
    path.write_bytes(flipped(whole, at))
    try:
      found = files.read(path)
    except UserError as e:
      refused += 1
      assert str(path) in str(e) and '\n' not in str(e)
      continue
    assert all(isinstance(array, np.ndarray) for array in found.values())
    if name == 'zip':
      assert found.keys() == intact.keys()
      for key, array in found.items():
        assert array.tobytes() == intact[key].tobytes()
  assert refused > 200


def test_cut_safetensors(tmp_path):
  path = tmp_path / 'cut.safetensors'
  whole = read_bytes('weights.safetensors')
  for size in range(0, len(whole), 7):
    path.write_bytes(whole[:size])
    assert_refused(path, 'is not a safetensors file (')
