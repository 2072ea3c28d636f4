"""Reading and writing files of tensors; nothing in them is trusted."""

import builtins
import json
import pickle
import struct
import sys
import zipfile

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
  """16-bit floats widen exactly; data-parallel prefixes go."""
  values = np.array([1.5, -0.375, 65504.0])
  path = save(
    tmp_path / 'x.safetensors',
    {
      'module.a': values.astype(np.float16),
      'D.module.b': values.astype(ml_dtypes.bfloat16),
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
  with pytest.raises(UserError, match=r'x\.safetensors is no safetensors file'):
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


def test_without_torch(tmp_path, monkeypatch):
  """One sentence that says what to install, for reading and for writing."""
  real = builtins.__import__

  def no_torch(name, *arguments, **more):
    if name.partition('.')[0] == 'torch':
      raise ImportError(name)
    return real(name, *arguments, **more)

  monkeypatch.setattr(builtins, '__import__', no_torch)
  path = tmp_path / 'x.pth'
  path.write_bytes(b'x')
  with pytest.raises(UserError, match='not installed: pip install "torch>=2'):
    torch_files.read(path)
  with pytest.raises(UserError, match=r'or write y\.safetensors'):
    torch_files.write(tmp_path / 'y.pth', {'a': np.ones(1, 'f4')})
  assert not (tmp_path / 'y.pth').exists()


def test_written_tensors_come_back(tmp_path):
  rng = np.random.default_rng(0)
  content = {
    'w': rng.standard_normal((3, 2, 5, 5)).astype('f4').transpose(1, 0, 3, 2),
    'n': np.array(7, np.int64),
  }
  torch_files.write(tmp_path / 'x.safetensors', content)
  found = torch_files.read(tmp_path / 'x.safetensors')
  assert found.keys() == content.keys()
  for key, tensor in content.items():
    np.testing.assert_array_equal(found[key], tensor)
    assert found[key].dtype == tensor.dtype
  assert [p.name for p in tmp_path.iterdir()] == ['x.safetensors']


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
  """The library's own error becomes the sentence; a started file is gone."""

  def fail(tensors, file):
    file.write_bytes(b'half')
    raise safetensors.SafetensorError('Io Error: no space left')

  monkeypatch.setattr(safetensors.numpy, 'save_file', fail)
  with pytest.raises(UserError, match=r'cannot write .*: Io Error: no space'):
    torch_files.write(tmp_path / 'x.safetensors', {'a': np.ones(1, 'f4')})
  assert not list(tmp_path.iterdir())


# What follows reads .pth files, so that it needs torch, which is optional.


@pytest.mark.needs_torch
def test_an_old_torch_is_not_trusted(tmp_path, monkeypatch):
  """weights_only=True ran code in 2.5 and damaged memory in 2.9."""
  torch = pytest.importorskip('torch')
  path = tmp_path / 'x.pth'
  torch.save({'a': torch.ones(1)}, path)
  assert torch_files.read(path)
  monkeypatch.setattr(torch, '__version__', '2.9.1+cu130')
  with pytest.raises(UserError, match=r'2\.9\.1\+cu130 may run code that a fi'):
    torch_files.read(path)


class Evil:
  """Its unpickling writes a file."""

  def __init__(self, mark):
    self.mark = mark

  def __reduce__(self):
    return exec, (f'open({str(self.mark)!r}, "w").close()',)


def evil_files(torch, root):
  """Write files that would run code, claim too much or are broken."""
  mark = root / 'mark'
  tensor = torch.ones(8, 8)

  def path(name):
    return root / f'{name}.pth'

  torch.save({'a': tensor, 'x': Evil(mark)}, path('zip_code'))
  torch.save(
    {'a': Evil(mark)},
    path('legacy_code'),
    _use_new_zipfile_serialization=False,
  )
  path('plain_pickle').write_bytes(pickle.dumps(Evil(mark)))
  path('system').write_bytes(
    b'cos\nsystem\n(S"touch ' + str(mark).encode() + b'"\ntR.'
  )
  path('inst').write_bytes(
    b'(S"touch ' + str(mark).encode() + b'"\nios\nsystem\n.'
  )
  path('builtins').write_bytes(b'\x80\x04cbuiltins\neval\n(S"1"\ntR.')
  torch.save({'a': tensor}, path('good'))
  whole = path('good').read_bytes()
  path('truncated').write_bytes(whole[: len(whole) // 2])
  path('empty').write_bytes(b'')
  path('text').write_text('weights')
  torch.save({'a': torch.empty(4, device='meta')}, path('meta'))
  torch.save({'a': tensor.to(torch.float8_e4m3fn)}, path('float8'))
  torch.save({'a': tensor.to_sparse_csr()}, path('sparse'))
  torch.save({'a.b': tensor, 'a': {'b': tensor}}, path('twice'))
  cycle = [tensor]
  cycle.append(cycle)
  torch.save(cycle, path('cycle'))
  shared = {'a': tensor}
  for _ in range(40):
    shared = {'a': shared, 'b': shared}
  torch.save(shared, path('shared'))
  # A view of one number as 2**34 of them.
  torch.save({'a': torch.ones(1).expand(2**34)}, path('expanded'))
  with zipfile.ZipFile(path('bomb'), 'w', zipfile.ZIP_DEFLATED) as archive:
    with zipfile.ZipFile(path('good')) as good:
      for entry in good.infolist():
        archive.writestr(entry.filename, good.read(entry))
    archive.writestr('good/data/1', bytes(2**24))
  return mark, sorted(p for p in root.glob('*.pth') if p.stem != 'good')


@pytest.mark.needs_torch
def test_no_file_runs_code(tmp_path):
  torch = pytest.importorskip('torch')
  mark, paths = evil_files(torch, tmp_path)
  assert len(paths) == 17
  for path in paths:
    with pytest.raises(UserError, match=path.name) as refused:
      torch_files.read(path)
    assert '\n' not in str(refused.value)
    assert not mark.exists(), path
  assert torch_files.read(tmp_path / 'good.pth')['a'].sum() == 64


@pytest.mark.needs_torch
def test_pth_both_ways(tmp_path):
  """Nested as FADA's, legacy format too; step counts are no tensors."""
  torch = pytest.importorskip('torch')
  weight = torch.randn(3, 2, 1, 1)
  content = {
    'iteration': 7,
    'model': {'module.a': weight, 'b': torch.ones(2, dtype=torch.bfloat16)},
    'optimizer': {'state': {0: {'step': torch.tensor(3)}}, 'lr': [0.1]},
  }
  for new in (True, False):
    path = tmp_path / f'{new}.pth'
    torch.save(content, path, _use_new_zipfile_serialization=new)
    found = torch_files.read(path)
    assert found.keys() == {'model.a', 'model.b', 'optimizer.state.0.step'}
    assert found['optimizer.state.0.step'] == 3
    np.testing.assert_array_equal(found['model.a'], weight.numpy())
    assert found['model.b'].dtype == np.float32
  path = tmp_path / 'x.pth'
  torch_files.write(path, {'net': {'a': weight.numpy()}, 'n': np.array(3)})
  back = torch.load(path, weights_only=True)
  assert torch.equal(back['net']['a'], weight) and back['n'] == 3
  assert back['n'].shape == () and sys.getsizeof(back)
