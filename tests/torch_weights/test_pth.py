"""The reader of `.pth` files against programs written by hand, and the writer.

A pickle's instructions are in Python's pickletools; the tests write them out,
so that each trick is the one that its name says.
"""

import io
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import REFUSED, assert_refused, read_bytes

from jaxuda.torch_weights import files, pickles, pth
from jaxuda.utils.errors import UserError

LOAD = b'ctorch._utils\n_rebuild_tensor_v2\n'
ORDERED = b'ccollections\nOrderedDict\n'
EIGHT = np.arange(8, dtype='<f4')


def text(value):
  raw = value.encode()
  return b'X' + struct.pack('<I', len(raw)) + raw


def number(value):
  return b'J' + struct.pack('<i', value)


def numbers(*values):
  return b'(' + b''.join(map(number, values)) + b't'


def storage(kind=b'ctorch\nFloatStorage\n', key='0', size=8):
  return (
    b'('
    + text('storage')
    + kind
    + text(key)
    + text('cpu')
    + (number(size) + b'tQ')
  )


def tensor(offset=0, shape=(8,), strides=(1,), stored=None):
  return (
    LOAD
    + b'('
    + (stored or storage())
    + number(offset)
    + (numbers(*shape) + numbers(*strides) + b'\x89' + ORDERED + b')RtR')
  )


def write_zip(path, program, entries=None, compression=zipfile.ZIP_STORED):
  """Write a file of a program and the storage 0, which has eight floats."""
  with zipfile.ZipFile(path, 'w', compression) as archive:
    archive.writestr('x/data.pkl', b'\x80\x02' + program + b'.')
    for name, content in (entries or {'data/0': EIGHT.tobytes()}).items():
      archive.writestr(f'x/{name}', content)
  return path


def named(*tensors):
  """Return a program of a dict with the keys 0, 1 and so on."""
  items = (text(str(i)) + value for i, value in enumerate(tensors))
  return b'}(' + b''.join(items) + b'u'


def test_views(tmp_path):
  """Offsets and strides, by NumPy's own slices."""
  path = write_zip(
    tmp_path / 'x.pth',
    named(
      tensor(),
      tensor(1, (2, 3), (3, 1)),
      tensor(0, (2, 4), (1, 2)),
      tensor(7, (), ()),
      tensor(0, (0, 5), (5, 1)),
    ),
  )
  found = files.read(path)
  np.testing.assert_array_equal(found['0'], EIGHT)
  np.testing.assert_array_equal(found['1'], EIGHT[1:7].reshape(2, 3))
  np.testing.assert_array_equal(found['2'], EIGHT.reshape(4, 2).T)
  np.testing.assert_array_equal(found['3'], 7)
  assert found['4'].shape == (0, 5)


def test_tied_weights_are_one_array(tmp_path):
  found = files.read(write_zip(tmp_path / 'x.pth', named(tensor(), tensor())))
  assert found['0'] is found['1']


def test_what_is_no_tensor_is_left_out(tmp_path):
  """The parameter is a tensor; texts, numbers and attributes are not."""
  program = (
    b'}('
    + (text('epoch') + number(3) + text('name') + text('x'))
    + (text('lr') + b'G' + struct.pack('>d', 0.1) + text('none') + b'N')
    + (text('keys') + b']' + text('a') + b'a')
    + text('net')
    + (ORDERED + b')R(' + text('w'))
    + (b'ctorch._utils\n_rebuild_parameter\n(' + tensor() + b'\x88}tR')
    + (b'u}' + text('_metadata') + b'Nsb')
    + b'u'
  )
  found = files.read(write_zip(tmp_path / 'x.pth', program))
  assert list(found) == ['net.w']


FORGED = {
  'calls': (b'cos\nsystem\n(' + text('true') + b'tR', 'it calls os.system'),
  'a call by name': (
    text('os') + text('system') + b'\x93(' + text('true') + b'tR',
    'it calls os.system',
  ),
  'a new object': (b'cos\n_wrap_close\n)\x81', 'it calls os._wrap_close'),
  'an instance': (b'(ios\nsystem\n', 'it has the instruction INST'),
  'an object': (b'(cos\nsystem\no', 'it has the instruction OBJ'),
  'an extension': (b'\x82\x01', 'it has the instruction EXT1'),
  'attributes of a call': (ORDERED + b'}b', 'it sets attributes'),
  'attributes of a tensor': (tensor() + b'}b', 'it sets attributes'),
  'a call of a text': (
    text('torch.Size') + b')R',
    'it calls torch.Size',
  ),
  'a storage of code': (storage(b'cos\nsystem\n'), 'it names os.system'),
  'another type': (
    named(tensor(stored=storage(b'ctorch\nQInt8Storage\n'))),
    'it names torch.QInt8Storage',
  ),
  'another file': (
    named(tensor(stored=storage(key='../data.pkl'))),
    'it is damaged',
  ),
  'more numbers': (
    named(tensor(stored=storage(size=9))),
    'storage 0 has 32 bytes',
  ),
  'fewer numbers': (
    named(tensor(shape=(7,), stored=storage(size=7))),
    'storage 0 has 32 bytes',
  ),
  'two types of one storage': (
    named(tensor(), tensor(stored=storage(b'ctorch\nIntStorage\n'))),
    'it has two storages 0',
  ),
  'beyond the end': (named(tensor(1)), 'beyond what is stored'),
  'a long stride': (named(tensor(0, (2,), (8,))), 'beyond what is stored'),
  'an offset below 0': (named(tensor(-1)), 'an impossible shape'),
  'a stride below 0': (named(tensor(7, (8,), (-1,))), 'an impossible shape'),
  'a shape below 0': (named(tensor(0, (-1,), (1,))), 'an impossible shape'),
  'fewer strides': (named(tensor(0, (2, 2), (1,))), 'an impossible shape'),
  'a view of one number as many': (
    named(tensor(0, (2**30,), (0,))),
    'is not stored in full',
  ),
  'a key that is a tuple': (b'})Ns', 'a key that is no text or number'),
  'items of a list': (b']NNs', 'it is damaged'),
  'items of a tensor': (tensor() + b'Na', 'it is damaged'),
  'nothing': (b'', 'it is damaged'),
  'a missing mark': (b'Nu', 'it is damaged'),
  'a missing memo': (b'h\x07', 'it is damaged'),
  'a text longer than the file': (
    b'\x8d' + struct.pack('<Q', 2**50),
    'expected',
  ),
  'a list of itself': (b']q\x00h\x00a', 'more than 500 letters'),
}


@pytest.mark.parametrize('trick', FORGED)
def test_forged_programs(trick, tmp_path):
  program, reason = FORGED[trick]
  path = write_zip(tmp_path / 'x.pth', program)
  with pytest.raises(UserError) as refused:
    files.read(path)
  assert str(path) in str(refused.value) and reason in str(refused.value)
  assert '\n' not in str(refused.value)


def doubled(depth):
  """Return a program of dicts that hold the next one twice: 2**depth leaves."""
  program = tensor() + b'q\x00'
  for _ in range(depth):
    program += b'}(' + text('a') + b'h\x00' + text('b') + b'h\x00uq\x00'
  return program


def long_keys():
  """Return a program whose flat keys would have a megabyte each."""
  inner = b']q\x00(' + b'N' * 40_000 + b'e'
  return b'}' + text('k' * 2**20) + inner + b's'


@pytest.mark.parametrize(
  ('program', 'reason'),
  [
    (doubled(60), '50,000 things'),
    (b']q\x00(' + b'h\x00' * 100 + b'e', '500 letters'),
    (long_keys(), '500 letters'),
  ],
)
def test_no_more_memory_than_the_file_is_worth(program, reason, tmp_path):
  path = write_zip(tmp_path / 'x.pth', program)
  tracemalloc.start()
  try:
    assert_refused(path)
    assert tracemalloc.get_traced_memory()[1] < 2**28
  finally:
    tracemalloc.stop()
  with pytest.raises(UserError, match=reason):
    files.read(path)


@pytest.mark.parametrize(
  ('program', 'reason'),
  [
    # One list, copied by every call.
    (
      b'](ctorch\nSize\nq\x01](' + b'N' * 300_000 + b'e\x85q\x00'
      + b'h\x01h\x00R' * 100_000 + b'e',
      'instructions',
    ),
    (b'](' + b'N' * 10**6 + b'e', 'instructions'),
    (named(*[tensor()] * 100_000), 'instructions'),
  ],
)  # fmt: skip
def test_no_more_time_than_the_file_is_worth(program, reason, tmp_path):
  path = write_zip(tmp_path / 'x.pth', program)
  began = time.process_time()
  with pytest.raises(UserError, match=reason):
    files.read(path)
  assert time.process_time() - began < 10


def test_views_are_together_no_larger_than_the_file(tmp_path):
  """Each of these is stored in full, and all of them are not."""
  stored = storage(size=1024)
  views = [tensor(i, (1000,), (1,), stored) for i in range(3)]
  path, entries = tmp_path / 'x.pth', {'data/0': bytes(4096)}
  assert len(files.read(write_zip(path, named(views[0]), entries))) == 1
  assert_refused(
    write_zip(path, named(*views), entries), REFUSED + '1 is not s'
  )


def test_forged_archives(tmp_path):
  path = tmp_path / 'x.pth'
  good = named(tensor())
  write_zip(path, good, compression=zipfile.ZIP_DEFLATED)
  assert_refused(path, REFUSED + 'it unpacks to ')
  write_zip(path, good, {'data/0': EIGHT.tobytes(), 'byteorder': b'middle'})
  assert_refused(path, REFUSED + 'it has an unknown byte order')
  write_zip(path, good, {'data/1': EIGHT.tobytes()})
  assert_refused(path, REFUSED + 'it is damaged')
  with (
    zipfile.ZipFile(write_zip(path, good), 'a') as archive,
    pytest.warns(UserWarning, match='Duplicate name'),
  ):
    archive.writestr('x/data/0', EIGHT.tobytes())
  assert_refused(path, REFUSED + 'it has an entry twice')
  path.write_bytes(pickle.dumps({'a': 1}))
  assert_refused(path, REFUSED + 'it starts with another number')
  path.write_bytes(read_bytes('legacy.pth') + b'x')
  assert_refused(path, REFUSED + 'something is behind its end')


def test_control_characters_are_not_printed(tmp_path):
  path = write_zip(tmp_path / 'x.pth', text('\x1b[31m') + text('x') + b'\x93)R')
  with pytest.raises(UserError, match=r'it calls \?\[31m\.x\)'):
    files.read(path)


def program_of(name):
  with zipfile.ZipFile(io.BytesIO(read_bytes('zip.pth'))) as archive:
    return archive.read(f'zip/{name}')


@settings(max_examples=300, deadline=None)
@given(
  at=st.integers(0, len(program_of('data.pkl')) - 1),
  replaced=st.integers(0, 8),
  by=st.binary(max_size=8),
)
def test_any_program_ends_in_values_or_a_plain_error(at, replaced, by):
  """Whatever bytes a program has, it is read or refused, and calls nothing."""
  whole = program_of('data.pkl')
  changed = whole[:at] + by + whole[at + replaced :]
  try:
    found = dict(pth.flatten(pickles.load(io.BytesIO(changed))))
  except Exception as e:  # as files.read catches
    assert not isinstance(e, (RecursionError, AttributeError, ImportError)), e
    return
  known = pickles.View, pickles.Storage, pickles.Name, str, int, float, bytes
  assert all(v is None or isinstance(v, known) for v in found.values())


def test_written_files_against_pickle(tmp_path):
  """Python's own pickle reads them, with NumPy in the place of torch."""
  weight = np.arange(30, dtype='f4').reshape(2, 3, 1, 5).transpose(1, 0, 3, 2)
  content = {'net': {'w': weight, 'n': np.array(2**40)}, 'größe': weight[0]}
  files.write(tmp_path / 'x.pth', content)
  archive = zipfile.ZipFile(tmp_path / 'x.pth')

  class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
      return {
        'torch._utils._rebuild_tensor_v2': rebuild,
        'torch.FloatStorage': np.dtype('<f4'),
        'torch.LongStorage': np.dtype('<i8'),
        'collections.OrderedDict': dict,
      }[f'{module}.{name}']

    def persistent_load(self, pid):
      kind, dtype, key, location, size = pid
      assert (kind, location) == ('storage', 'cpu')
      stored = np.frombuffer(archive.read(f'archive/data/{key}'), dtype)
      assert len(stored) == size
      return stored

  def rebuild(stored, offset, shape, strides, needs_gradient, hooks):
    assert (offset, needs_gradient, hooks) == (0, False, {})
    array = stored.reshape(shape)
    assert strides == tuple(n // array.itemsize for n in array.strides)
    return array

  found = Unpickler(archive.open('archive/data.pkl')).load()
  assert found.keys() == content.keys() and found['net'].keys() == {'w', 'n'}
  np.testing.assert_array_equal(found['net']['w'], weight)
  np.testing.assert_array_equal(found['größe'], weight[0])
  assert found['net']['n'] == 2**40 and found['net']['n'].shape == ()
  assert archive.read('archive/byteorder') == b'little'
  before = (tmp_path / 'x.pth').read_bytes()
  files.write(tmp_path / 'x.pth', content)
  assert (tmp_path / 'x.pth').read_bytes() == before
