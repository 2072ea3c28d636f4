"""Reading and writing files of tensors; nothing in them is trusted."""

import json
import pickle
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from jaxuda.torch_weights import files as torch_files
from jaxuda.utils.errors import UserError


def save(path, tensors):
  safetensors.numpy.save_file(tensors, path)
  return path


def test_types_and_prefixes(tmp_path):
  """16-bit floats widen exactly; data-parallel prefixes go, all of them."""
  values = np.array([1.5, -0.375, 65504.0])
  path = save(
    tmp_path / 'x.safetensors',
    {
      'module.a': values.astype(np.float16),
      'D.module.module.b': values.astype(ml_dtypes.bfloat16),
      'c': values.astype(np.float32),
      'n': np.array(2**40),
    },
  )
  found = torch_files.read(path)
  assert found.keys() == {'a', 'D.b', 'c', 'n'}
  assert {k: v.dtype.name for k, v in found.items()} == {
    'a': 'float32',
    'D.b': 'float32',
    'c': 'float32',
    'n': 'int64',
  }
  np.testing.assert_array_equal(found['a'], values)
  np.testing.assert_array_equal(found['D.b'], [1.5, -0.375, 65536])
  assert found['n'] == 2**40 and found['n'].shape == ()


@pytest.mark.parametrize(
  ('tensors', 'sentence'),
  [
    ({'a': np.ones(2)}, 'a is float64'),
    (
      {'a': np.array([1, np.nan], np.float32)},
      'a has values that are not fini',
    ),
    ({'a': np.array([np.inf], np.float16)}, 'a has values that are not finite'),
    ({'a': np.ones(1, bool)}, 'a is bool'),
    ({'a': np.ones(2, np.int64)}, 'a is int64'),
    ({'a': np.array(1, np.int32)}, 'a is int32'),
    ({'a': np.ones(1, 'f4'), 'module.a': np.ones(1, 'f4')}, 'has a twice'),
    ({}, 'holds no tensors'),
  ],
)
def test_tensors_that_are_refused(tensors, sentence, tmp_path):
  path = save(tmp_path / 'x.safetensors', tensors)
  with pytest.raises(UserError, match=f'x.safetensors.*{sentence}'):
    torch_files.read(path)


def header(entries, rest=b''):
  text = json.dumps(entries).encode()
  return struct.pack('<Q', len(text)) + text + rest


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'\x80\x04N.',
    struct.pack('<Q', 2**60) + b'{}',
    header({'a': {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]}}),
    header(
      {'a': {'dtype': 'F32', 'shape': [2**40], 'data_offsets': [0, 4]}}, b'0000'
    ),
    pickle.dumps({'a': 1}),
  ],
)
def test_what_is_no_safetensors_file(content, tmp_path):
  path = tmp_path / 'x.safetensors'
  path.write_bytes(content)
  with pytest.raises(UserError, match=r'x\.safetensors is not a safetensors'):
    torch_files.read(path)


def test_paths(tmp_path):
  with pytest.raises(UserError, match=r'gone\.pth does not exist'):
    torch_files.read(tmp_path / 'gone.pth')
  path = tmp_path / 'x.h5'
  path.write_bytes(b'x')
  with pytest.raises(UserError, match=r'x\.h5 is none of \.safetensors, \.pth'):
    torch_files.read(path)
  with pytest.raises(UserError, match=r'x\.h5 is none of'):
    torch_files.write(path, {'a': np.ones(1, 'f4')})


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth', '.pt', '.bin'])
def test_written_tensors_come_back(suffix, tmp_path):
  rng = np.random.default_rng(0)
  content = {
    'w': rng.standard_normal((3, 2, 5, 5)).astype('f4').transpose(1, 0, 3, 2),
    'n': np.array(7, np.int64),
  }
  path = (tmp_path / 'x').with_suffix(suffix)
  torch_files.write(path, content)
  found = torch_files.read(path)
  assert found.keys() == content.keys()
  for key, tensor in content.items():
    np.testing.assert_array_equal(found[key], tensor)
    assert found[key].dtype == tensor.dtype
  assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
  """The library's own error becomes the sentence; a started file is gone."""

  def fail(tensors, file):
    file.write_bytes(b'half')
    raise safetensors.SafetensorError('Io Error: no space left')

  monkeypatch.setattr(safetensors.numpy, 'save_file', fail)
  with pytest.raises(UserError, match=r'cannot write .*: Io Error: no space'):
    torch_files.write(tmp_path / 'x.safetensors', {'a': np.ones(1, 'f4')})
  assert not list(tmp_path.iterdir())
