"""Broken input is named, with the command that repairs it."""

import itertools

import numpy as np
import prepared
import pytest
from prepared import SIZE

from jaxuda import input as input_lib
from jaxuda.input import Augment, Stream
from jaxuda.utils.errors import UserError


def _open(data_dir, size=SIZE):
  return input_lib.open_records('gta5', size, 'train', data_dir)


def _take(count, streams):
  batches = input_lib.train_batches(streams, seed=3)
  return list(itertools.islice(batches, count))


BROKEN = {
  'undecodable': ({'image': b'no picture'}, 'cannot be used'),
  'truncated': ({'image': prepared.noise(4)['image'][:900]}, 'cannot be used'),
  'size': ({'image': prepared.png(np.zeros((24, 40, 3), np.uint8))}, 'shape'),
  'label size': (
    {'label': prepared.png(np.zeros((20, 48), np.uint8))},
    'image and label differ in size',
  ),
  'no label': ({'label': b''}, 'it has no label'),
  'colour label': (
    {'label': prepared.png(np.zeros((*SIZE, 3), np.uint8))},
    'not an 8-bit grey PNG',
  ),
  '16-bit label': (
    {'label': prepared.png(np.zeros(SIZE, np.uint16))},
    'not an 8-bit grey PNG',
  ),
}


@pytest.mark.parametrize('kind', BROKEN)
def test_a_broken_example_is_named(tmp_path, kind):
  changed, reason = BROKEN[kind]
  examples = [prepared.noise(i) for i in range(6)]
  examples[4] = prepared.noise(4, **changed)
  path = prepared.write(tmp_path, 'gta5', SIZE, {'train': examples})
  stream = Stream(_open(tmp_path), 'cityscapes19', 1)
  batches = input_lib.train_batches({'source': stream}, seed=3)
  for index in input_lib.shuffled_epochs(6, 3, 'source', 0, 6):
    if index == 4:
      break
    assert next(batches)['source']['image'][0, 0, 0, 0] == index
  with pytest.raises(UserError, match=reason) as e:
    next(batches)
  message = str(e.value)
  assert "gta5, split 'train': example 4 (frame_4)" in message
  assert str(path) in message and 'python -m data.prepare gta5' in message
  assert '{{' not in message and 'Op:' not in message


def test_images_of_several_sizes_need_a_crop(tmp_path):
  small = np.zeros((20, 40, 3), np.uint8)
  examples = [prepared.noise(0), prepared.example('small', small)]
  prepared.write(tmp_path, 'gta5', None, {'train': examples})
  records = _open(tmp_path, size=None)
  with pytest.raises(UserError, match=r'differ in size \(20x40, 24x48\)'):
    _take(1, {'source': Stream(records, None, 2)})
  with pytest.raises(UserError, match=r'crop 24x48 .* images, 20x40'):
    _take(1, {'source': Stream(records, None, 2, Augment(crop=(24, 48)))})
  [batch] = _take(1, {'source': Stream(records, None, 2, Augment(crop=(9, 9)))})
  assert batch['source']['image'].shape == (2, 9, 9, 3)


def test_a_damaged_file_is_named(tmp_path):
  path = prepared.write(
    tmp_path, 'gta5', SIZE, {'train': [prepared.noise(i) for i in range(6)]}
  )
  [file] = path.glob('*array_record*')
  whole = bytearray(file.read_bytes())

  damaged = whole.copy()
  damaged[3000] ^= 4  # inside the first record
  file.write_bytes(damaged)
  with pytest.raises(UserError, match='is damaged') as e:
    _take(6, {'source': Stream(_open(tmp_path), None, 1)})
  assert str(file) in str(e.value)

  for broken in (whole[: len(whole) // 2], b''):
    file.write_bytes(broken)
    with pytest.raises(UserError, match='is damaged') as e:
      _open(tmp_path)
    assert str(file) in str(e.value)
    assert f'--data_dir={tmp_path}' in str(e.value)


def test_a_damaged_folder_is_named(tmp_path):
  path = prepared.write(tmp_path, 'gta5', SIZE, {'train': [prepared.noise(0)]})
  for name in ('metadata.json', 'dataset_info.json'):
    (path / name).write_text('{')
    with pytest.raises(UserError, match='not a prepared dataset') as e:
      _open(tmp_path)
    assert str(path) in str(e.value)
