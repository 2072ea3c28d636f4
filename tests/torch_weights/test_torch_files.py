"""What torch wrote comes back: the files of tests/reference/torch/write.py.

Their values are computed here with NumPy. PyTorch itself is needed only where
it judges what is committed, and what we write.
"""

import argparse
import ast
import io
import pathlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest
from torch_files import FOLDER, read_bytes

from jaxuda.torch_weights import files
from jaxuda.utils.errors import UserError


def ramp(start, *shape):
  """Return start/8, (start + 1)/8 and so on."""
  values = np.arange(start, start + np.prod(shape, dtype=int)) / 8
  return values.astype(np.float32).reshape(shape)


def limits(mantissa_bits, smallest_exponent, largest_exponent):
  """Return -0, the smallest subnormal, the least and the largest number."""
  largest = (2 - 2.0**-mantissa_bits) * 2.0**largest_exponent
  smallest = 2.0 ** (smallest_exponent - mantissa_bits)
  return np.array([-0.0, smallest, -largest, largest], np.float32)


STATE = {
  '0.weight': ramp(0, 3, 2, 1, 2),
  '0.bias': ramp(16, 3),
  '1.weight': ramp(32, 3),
  '1.bias': ramp(48, 3),
  '1.running_mean': ramp(64, 3),
  '1.running_var': ramp(80, 3),
  '1.num_batches_tracked': np.array(2**40),
  'float16': ramp(100, 2, 2),
  'bfloat16': ramp(110, 2, 2),
  'limits.float32': limits(23, -126, 127),
  'limits.float16': limits(10, -14, 15),
  'limits.bfloat16': limits(7, -126, 127),
  'scalar': np.array(0.625, np.float32),
  'empty': np.zeros((0, 3), np.float32),
  'transposed': ramp(120, 3, 4).T,
  'every_second': ramp(140, 10)[1::2],
  'shared.first': ramp(160, 6),
  'shared.second': ramp(163, 2, 2),
  'größe.重み': ramp(170, 2),
}
# The first step of SGD: the momentum is the gradient; lr is 0.5.
# Of a checkpoint with its optimizer, which is not read.
CHECKPOINT = {'weight': ramp(0, 4) - ramp(8, 4) / 2}


def assert_same_bits(found, expected):
  assert found.keys() == expected.keys()
  for key, array in expected.items():
    assert found[key].dtype == array.dtype, key
    assert found[key].shape == array.shape, key
    assert found[key].tobytes() == array.tobytes(), key


def test_safetensors():
  assert_same_bits(files.read(FOLDER / 'weights.safetensors'), STATE)


@pytest.mark.parametrize(
  ('name', 'expected'),
  [
    ('zip', STATE),
    ('legacy', STATE),
    ('nested', CHECKPOINT),
    ('tensor', {'': ramp(3, 2, 3)}),
  ],
)
def test_values(name, expected):
  assert_same_bits(files.read(FOLDER / f'{name}.pth'), expected)


@pytest.mark.parametrize('name', ['float64', 'int64', 'bool'])
def test_types_that_no_weight_has(name):
  with pytest.raises(UserError, match=rf'{name}\.pth: weight is {name}, not a'):
    files.read(FOLDER / f'{name}.pth')


def big_endian(whole):
  """Return the zip of one float32 tensor as a big-endian machine writes it."""
  swapped = io.BytesIO()
  with (
    zipfile.ZipFile(io.BytesIO(whole)) as archive,
    zipfile.ZipFile(swapped, 'w') as other,
  ):
    for name in archive.namelist():
      content = archive.read(name)
      if name.endswith('/byteorder'):
        content = b'big'
      if name.endswith('/data/0'):
        content = np.frombuffer(content, '<f4').astype('>f4').tobytes()
      other.writestr(name, content)
  return swapped.getvalue()


def of_a_gpu(whole):
  return whole.replace(b'X\x03\0\0\0cpu', b'X\x06\0\0\0cuda:0')


def of_python_2(whole):
  """Return a legacy file whose texts are Python 2's: bytes, of any kind."""
  return re.sub(rb'(?s)X(.)\0\0\0', rb'U\1', whole)


@pytest.mark.parametrize(
  ('changed', 'name', 'expected'),
  [
    (big_endian, 'tensor', {'': ramp(3, 2, 3)}),
    (of_a_gpu, 'legacy', STATE),
    (of_python_2, 'legacy', STATE),
  ],
)
def test_files_of_other_machines(changed, name, expected, tmp_path):
  path = tmp_path / 'x.pth'
  path.write_bytes(changed(read_bytes(f'{name}.pth')))
  assert path.read_bytes() != read_bytes(f'{name}.pth')
  assert_same_bits(files.read(path), expected)


def plain(value, torch):
  """Return what a file holds, and how, as something that == compares."""
  if isinstance(value, torch.Tensor):
    data = value.reshape(-1).contiguous().view(torch.uint8).tolist()
    stored = (value.shape, value.stride(), value.storage_offset())
    return str(value.dtype), stored, data
  if isinstance(value, argparse.Namespace):
    return plain(vars(value), torch)
  if isinstance(value, Mapping):
    items = [(key, plain(inner, torch)) for key, inner in value.items()]
    return type(value), getattr(value, '_metadata', None), items
  return value


@pytest.mark.needs_torch
def test_the_script_writes_what_is_committed(tmp_path):
  torch = pytest.importorskip('torch')
  command = [sys.executable, FOLDER / 'write.py', tmp_path]
  subprocess.run(command, check=True)
  names = sorted(p.name for p in tmp_path.iterdir())
  committed = (p.name for p in FOLDER.iterdir() if p.is_file())
  assert names == sorted({*committed} - {'write.py'})
  for name in names:
    both = FOLDER / name, tmp_path / name
    if name == 'code.pth':
      both = [zipfile.Path(path) / 'code/data.pkl' for path in both]
    if name.startswith('code') or name.endswith('.safetensors'):
      old, new = (path.read_bytes() for path in both)
    else:
      with torch.serialization.safe_globals([argparse.Namespace]):
        old, new = (plain(torch.load(path), torch) for path in both)
    assert old == new, name


@pytest.mark.needs_torch
@pytest.mark.parametrize('name', ['zip', 'legacy'])
def test_how_the_tensors_are_stored(name):
  """The state dicts hold what is hard to read, not plain copies of it."""
  torch = pytest.importorskip('torch')
  state = torch.load(FOLDER / f'{name}.pth', weights_only=True)
  assert state._metadata['module.1'] == {'version': 2}
  assert state['transposed'].stride() == (1, 4)
  assert state['every_second'].stride() == (2,)
  first, second = state['shared.first'], state['shared.second']
  assert second.data_ptr() == first.data_ptr() + 3 * first.element_size()
  for dtype in ('float32', 'float16', 'bfloat16'):
    assert state[f'limits.{dtype}'].dtype == getattr(torch, dtype)


@pytest.mark.needs_torch
def test_torch_reads_what_we_write(tmp_path):
  """Values, nesting and strides, also without reading it into memory."""
  torch = pytest.importorskip('torch')
  weight = ramp(0, 2, 3, 1, 5).transpose(1, 0, 3, 2)
  content = {
    'net': {'w': weight, 'n': np.array(2**40), 'empty': np.zeros((0, 3), 'f4')},
    'größe': np.array(0.625, np.float32),
  }
  files.write(tmp_path / 'x.pth', content)
  for mmap in (False, True):
    found = torch.load(tmp_path / 'x.pth', weights_only=True, mmap=mmap)
    assert found.keys() == content.keys()
    assert found['net'].keys() == content['net'].keys()
    np.testing.assert_array_equal(found['net']['w'].numpy(), weight)
    assert found['net']['w'].is_contiguous()
    assert found['net']['n'].dtype == torch.int64 and found['net']['n'] == 2**40
    assert found['net']['empty'].shape == (0, 3)
    assert found['größe'].shape == () and found['größe'] == 0.625


CAN_SKIP = re.compile(
  r'pytest\.(skip|xfail|importorskip|mark\.(skip|skipif|xfail))'
)


def test_only_what_needs_torch_can_be_skipped():
  """In this folder and in the helpers; such tests are as many as counted."""
  tests = pathlib.Path(__file__).parents[1]
  marked = {}
  for path in [
    tests / 'conftest.py',
    *sorted((tests / 'helpers').glob('*.py')),
    *sorted((tests / 'torch_weights').glob('*.py')),
  ]:
    for node in ast.parse(path.read_text()).body:
      marks = [ast.unparse(d) for d in getattr(node, 'decorator_list', [])]
      needs_torch = 'pytest.mark.needs_torch' in marks
      named = {
        ast.unparse(inner)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute)
      }
      skips = sorted(filter(CAN_SKIP.fullmatch, named))
      assert skips == ['pytest.importorskip'] * needs_torch, (path, node.lineno)
      if needs_torch:
        marked[path.name] = marked.get(path.name, 0) + 1
  assert marked == {
    'test_torch_files.py': 3,
  }
