"""PyTorch's `.pth` files, read and written without PyTorch.

There are two forms: a zip since PyTorch 1.6, and a chain of pickles with raw
numbers behind them before. Both are described by torch/serialization.py.
"""

import functools
import io
import math
import mmap
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxuda.torch_weights import pickles

_STORAGES = {'float32': 'FloatStorage', 'int64': 'LongStorage'}


_MOST = 50_000  # entries of a file; a checkpoint with its optimizers has 3,000


def read(path: pathlib.Path) -> list[tuple[str, np.ndarray]]:
  """Return the tensors of a file, with keys as `flatten` gives them.

  Tensors of the same numbers, such as tied weights, are one array. What is no
  tensor is left out: a step count, a learning rate.

  Raises:
    ValueError: it holds anything but tensors and plain values, claims more
      than it stores, or is damaged, which may show as other errors, too.
  """
  with path.open('rb') as file:
    if zipfile.is_zipfile(file):
      with zipfile.ZipFile(file) as archive:
        content, numbers = _read_zip(archive, path.stat().st_size)
        return _arrays(content, numbers, path.stat().st_size)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
      content, numbers = _read_legacy(memory)
      return _arrays(content, numbers, len(memory))


def flatten(content: Any) -> Iterator[tuple[str, Any]]:
  """Yield (key, leaf) of nested dicts and lists, with dots between the keys.

  Raises:
    ValueError: there are more than 50,000 of them, as of a list that holds
      itself, or a key has more than 500 letters.
  """
  todo = [('', content)]
  for _ in range(_MOST):
    if not todo:
      return
    prefix, value = todo.pop()
    if not isinstance(value, Mapping | list | tuple):
      yield prefix, value
      continue
    if len(todo) + len(value) > _MOST:
      break
    if not isinstance(value, Mapping):
      value = dict(enumerate(value))
    for key, inner in reversed(value.items()):
      key = f'{prefix}.{key}' if prefix else str(key)
      if len(key) > 500:
        raise ValueError('it has a key of more than 500 letters')
      todo.append((key, inner))
  raise ValueError(f'it holds more than {_MOST:,} things')


def _arrays(content, numbers, size):
  """Replace the views by arrays, which together are no larger than the file."""
  arrays, total = {}, 0
  found = []
  for key, view in flatten(content):
    if not isinstance(view, pickles.View):
      continue
    if view not in arrays:
      total += view.count * view.storage.dtype.itemsize
      if total > size:
        raise ValueError(f'{key} is not stored in full')
      arrays[view] = _array(view, numbers(view.storage))
    found.append((key, arrays[view]))
  return found


def _array(view, storage):
  if not view.count:
    return np.zeros(view.shape, storage.dtype)
  return np.lib.stride_tricks.as_strided(
    storage[view.offset :],
    view.shape,
    [stride * storage.itemsize for stride in view.strides],
    writeable=False,
  )


def _from_bytes(raw, storage, big_endian=False):
  """Return a storage's numbers, of which all must be there."""
  if len(raw) != storage.size * storage.dtype.itemsize:
    raise ValueError(f'storage {storage.key} has {len(raw):,} bytes')
  if big_endian:  # which the type of bfloat16 cannot say
    raw = np.frombuffer(raw, f'u{storage.dtype.itemsize}').byteswap()
  return np.frombuffer(raw, storage.dtype)


def _read_zip(archive, size):
  """Read a zip: data.pkl, and raw numbers in a file for each storage."""
  entries = archive.infolist()
  names = {entry.filename for entry in entries}
  unpacked = sum(entry.file_size for entry in entries)
  if len(names) < len(entries):
    raise ValueError('it has an entry twice')
  if unpacked > size or any(
    entry.compress_type != zipfile.ZIP_STORED for entry in entries
  ):
    raise ValueError(f'it unpacks to {unpacked:,} bytes')
  root = entries[0].filename.partition('/')[0]
  content = pickles.load(io.BytesIO(archive.read(f'{root}/data.pkl')))
  order = b'little'
  if f'{root}/byteorder' in names:
    order = archive.read(f'{root}/byteorder')
  if order not in (b'little', b'big'):
    raise ValueError('it has an unknown byte order')

  @functools.cache
  def numbers(storage):
    raw = archive.read(f'{root}/data/{storage.key}')  # checks its sum
    return _from_bytes(raw, storage, big_endian=order == b'big')

  return content, numbers


def _read_legacy(memory):
  """Read pickles of a magic number, the protocol, the machine's types, the
  content and the storages' keys, and the numbers behind them.
  """
  if pickles.load(memory) != 0x1950A86A20F9469CFC6C:
    raise ValueError('it starts with another number')
  if pickles.load(memory) != 1001:
    raise ValueError('it has another protocol')
  pickles.load(memory)
  named: dict[str, pickles.Storage] = {}
  content = pickles.load(memory, named)
  keys = pickles.load(memory)
  if sorted(keys) != sorted(named):
    raise ValueError('it is damaged')
  raw = {}
  for key in keys:
    # Little-endian on every machine, as the numbers are.
    (count,) = struct.unpack('<q', memory.read(8))
    if count != named[key].size:
      raise ValueError(f'storage {key} has {count:,} numbers')
    raw[key] = memory.read(count * named[key].dtype.itemsize)
  if memory.read(1):
    raise ValueError('something is behind its end')
  return content, lambda storage: _from_bytes(raw[storage.key], storage)


def write(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Write float32 and int64 arrays, in nested dicts, as torch.save does."""
  arrays: list[np.ndarray] = []
  program = b'\x80\x02' + _pickled(content, arrays) + b'.'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr(_entry('data.pkl'), program)
    archive.writestr(_entry('byteorder'), 'little')
    for key, array in enumerate(arrays):
      raw = array.astype(array.dtype.newbyteorder('<')).tobytes()
      archive.writestr(_entry(f'data/{key}'), raw)
    archive.writestr(_entry('version'), '3\n')


def _entry(name):
  """Return an entry of a fixed date, so that equal tensors give equal files."""
  return zipfile.ZipInfo(f'archive/{name}')


def _pickled(value, arrays):
  """Return the instructions that leave a value on the stack."""
  if isinstance(value, Mapping):
    items = (
      _plain(key) + _pickled(inner, arrays) for key, inner in value.items()
    )
    return b'}(' + b''.join(items) + b'u'
  array = np.asarray(value)
  arrays.append(array)
  shape = array.shape
  strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
  return (
    b'ctorch._utils\n_rebuild_tensor_v2\n(('
    + _plain('storage')
    + f'ctorch\n{_STORAGES[array.dtype.name]}\n'.encode()
    + _plain(str(len(arrays) - 1))
    + _plain('cpu')
    + _plain(array.size)
    + b'tQ'  # the tuple's storage
    + _plain(0)
    + _plain(shape)
    + _plain(strides)
    + b'\x89ccollections\nOrderedDict\n)RtR'  # no gradient and no hooks; call
  )


def _plain(value):
  """Return Python's own instructions for a value, less the start and end."""
  return pickle.dumps(value, protocol=2)[2:-1]
