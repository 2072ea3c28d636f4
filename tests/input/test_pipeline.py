"""Training batches: order, resume, shares, label maps and broken input."""

import io
import itertools
import pathlib
import subprocess
import sys
import zlib

import numpy as np
import PIL.Image
import prepared
import pytest
from prepared import SIZE

from jaxuda import input as input_lib
from jaxuda.datasets import specs
from jaxuda.input import Augment, Stream
from jaxuda.utils.errors import UserError

COUNT = 10
ALL = Augment(True, (0.5, 0.5, 0.5, 0.2), (0.5, 1.5), (16, 32))


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  examples = [prepared.noise(i) for i in range(COUNT)]
  unlabelled = [prepared.noise(i, label=b'') for i in range(3)]
  prepared.write(folder, 'gta5', SIZE, {'train': examples})
  prepared.write(
    folder, 'cityscapes', SIZE, {'train': examples, 'test': unlabelled}
  )
  return folder


def _open(data_dir, spec='cityscapes', split='train', size=SIZE):
  return input_lib.open_records(spec, size, split, data_dir)


def _take(count, streams, **options):
  batches = input_lib.train_batches(streams, seed=3, **options)
  return list(itertools.islice(batches, count))


def _assert_equal(left, right):
  assert left.keys() == right.keys()
  for stream in left:
    assert left[stream].keys() == right[stream].keys()
    for key in left[stream]:
      np.testing.assert_array_equal(left[stream][key], right[stream][key])


def test_a_few_images_are_always_the_same(data_dir):
  """n images, whatever the run's seed; fewer are a part of more."""

  def seen(count, seed):
    stream = Stream(_open(data_dir, 'gta5'), None, count, count=count)
    batches = input_lib.train_batches({'labelled': stream}, seed=seed)
    for _ in range(2):  # an epoch each
      batch = next(batches)['labelled']['image']
    return {zlib.crc32(image.tobytes()) for image in batch}

  assert len(seen(4, 1)) == 4
  assert seen(4, 1) == seen(4, 2)
  assert seen(2, 1) < seen(4, 1) < seen(COUNT, 1)
  stream = Stream(_open(data_dir, 'gta5'), None, 1, count=COUNT + 1)
  with pytest.raises(UserError, match=r'config.labelled.count=11 must be 1 to'):
    input_lib.train_batches({'labelled': stream}, seed=0)


def test_order_is_numpys_own_permutations():
  crc = zlib.crc32(b'source')
  epochs = [np.random.default_rng((5, crc, e)).permutation(7) for e in range(9)]
  whole = np.concatenate(epochs)
  for start, count in [(0, 63), (0, 4), (5, 3), (6, 20), (40, 1), (12, 0)]:
    part = input_lib.shuffled_epochs(7, 5, 'source', start, count)
    np.testing.assert_array_equal(part, whole[start : start + count])


def test_order_far_out_and_by_stream():
  far = input_lib.shuffled_epochs(1000, 0, 'source', 10**12, 2000)
  assert sorted(far) == sorted([*range(1000)] * 2)
  target = input_lib.shuffled_epochs(1000, 0, 'target', 0, 1000)
  assert (
    target != input_lib.shuffled_epochs(1000, 0, 'source', 0, 1000)
  ).mean() > 0.9


def test_epochs_hold_every_example_once(data_dir):
  stream = Stream(_open(data_dir), None, 4)
  batches = _take(5, {'source': stream})  # 20 examples: two epochs
  seen = np.concatenate([b['source']['image'][:, 0, 0, 0] for b in batches])
  assert sorted(seen[:COUNT]) == sorted(seen[COUNT:]) == [*range(COUNT)]
  np.testing.assert_array_equal(
    seen, input_lib.shuffled_epochs(COUNT, 3, 'source', 0, 2 * COUNT)
  )
  assert 'label' not in batches[0]['source']


@pytest.mark.slow
def test_resume_is_the_tail_bit_for_bit(data_dir):
  streams = {
    'source': Stream(_open(data_dir, 'gta5'), 'cityscapes19', 3, ALL),
    'target': Stream(_open(data_dir), None, 2, ALL),
  }
  whole = _take(9, streams)
  for first in (1, 5):
    tail = _take(9 - first, streams, first_step=first)
    for left, right in zip(whole[first:], tail, strict=True):
      _assert_equal(left, right)
  # The third epoch of the target shows the same examples, augmented
  # differently.
  images = np.concatenate([b['target']['image'] for b in whole])
  assert len(np.unique(images.reshape(18, -1), axis=0)) == 18


def test_seeds_and_streams_draw_independently(tmp_path):
  prepared.write(tmp_path, 'gta5', SIZE, {'train': [prepared.noise(0)]})
  stream = Stream(_open(tmp_path, 'gta5'), None, 1, ALL)
  images = [
    batch[name]['image'].tobytes()
    for seed in (0, 1)
    for batch in itertools.islice(
      input_lib.train_batches({'source': stream, 'target': stream}, seed=seed),
      4,
    )
    for name in ('source', 'target')
  ]
  assert len(set(images)) == 16


@pytest.mark.slow
@pytest.mark.parametrize('count', [2, 4])
def test_shares_of_the_processes_make_the_batch(data_dir, count):
  stream = Stream(_open(data_dir), 'cityscapes19', 4, ALL)
  whole = _take(4, {'source': stream})
  shares = [
    _take(4, {'source': stream}, process_index=p, process_count=count)
    for p in range(count)
  ]
  for batch, *parts in zip(whole, *shares, strict=True):
    joined = {
      key: np.concatenate([part['source'][key] for part in parts])
      for key in ('image', 'label')
    }
    _assert_equal(batch, {'source': joined})


def test_pixels_and_labels_are_what_was_stored(data_dir):
  records = _open(data_dir)
  [batch] = _take(1, {'source': Stream(records, 'cityscapes19', 4)})
  # The ids of the Cityscapes labels, by hand: labelId -> trainId.
  train_ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22]
  train_ids += [23, 24, 25, 26, 27, 28, 31, 32, 33]
  table = np.full(256, 255, np.uint8)
  table[train_ids] = range(19)
  indices = input_lib.shuffled_epochs(COUNT, 3, 'source', 0, 4)
  for row, index in enumerate(indices):
    stored = prepared.noise(index)
    for key, expected in ('image', np.asarray), ('label', table.__getitem__):
      with PIL.Image.open(io.BytesIO(stored[key])) as picture:
        np.testing.assert_array_equal(
          batch['source'][key][row], expected(np.asarray(picture))
        )
  assert (batch['source']['label'] == 255).any()
  assert batch['source']['image'].dtype == np.uint8


def test_every_raw_id_is_mapped(tmp_path):
  ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
  examples = [prepared.example('a', np.zeros((16, 16, 3), np.uint8), ids)]
  prepared.write(tmp_path, 'camvid', (16, 16), {'train': examples})
  records = _open(tmp_path, 'camvid', size=(16, 16))
  [batch] = _take(1, {'labelled': Stream(records, 'camvid11', 1)})
  label = batch['labelled']['label'][0].ravel()
  np.testing.assert_array_equal(label[:11], np.arange(11))
  assert (label[11:] == 255).all()


def test_jpeg_records(tmp_path):
  ramp = np.arange(48)[None, :, None] * [5, 3, 1] + np.arange(24)[:, None, None]
  file = io.BytesIO()
  PIL.Image.fromarray(ramp.astype(np.uint8)).save(file, 'JPEG', quality=95)
  examples = [prepared.noise(0, image=file.getvalue())]
  prepared.write(tmp_path, 'gta5', SIZE, {'train': examples}, jpeg=True)
  [batch] = _take(1, {'source': Stream(_open(tmp_path, 'gta5'), None, 1)})
  with PIL.Image.open(file) as image:
    difference = batch['source']['image'][0].astype(int) - np.asarray(image)
  assert abs(difference).max() <= 2  # two builds of libjpeg


def test_streets_prepare_themselves_and_are_read(tmp_path, monkeypatch):
  streets = specs.module('streets')
  monkeypatch.setattr(streets, 'COUNTS', {'train': 3, 'val': 2})
  records = _open(tmp_path, 'streets/game')
  [batch] = _take(1, {'source': Stream(records, 'cityscapes19', 3)})
  indices = input_lib.shuffled_epochs(3, 3, 'source', 0, 3)
  for row, index in enumerate(indices):
    image, label = streets.render.render('game', int(index), SIZE, 'train')
    np.testing.assert_array_equal(batch['source']['image'][row], image)
    ours = batch['source']['label'][row]
    # Train ids of road, sidewalk, sky and car, by hand.
    for raw, train_id in ((7, 0), (8, 1), (23, 10), (26, 13)):
      np.testing.assert_array_equal(label == raw, ours == train_id)
  val = _open(tmp_path, 'streets/game', 'val')
  [batch] = input_lib.eval_batches(val, space='cityscapes19', batch_size=2)
  assert batch['id'] == ['game_val_00000', 'game_val_00001']


def test_missing_split_names_those_there_are(data_dir):
  with pytest.raises(UserError, match=r"no split 'val'; it has test, train"):
    _open(data_dir, split='val')


def test_missing_labels_are_refused_at_once(data_dir):
  stream = Stream(_open(data_dir, split='test'), 'cityscapes19', 1)
  with pytest.raises(UserError, match="cityscapes, split 'test', has no label"):
    input_lib.train_batches({'labelled': stream}, seed=0)
  with pytest.raises(UserError, match="cityscapes, split 'test', has no label"):
    input_lib.eval_batches(stream.records, space='cityscapes19', batch_size=1)


def test_settings_that_cannot_work_are_refused_at_once(data_dir):
  records = _open(data_dir)
  big = Stream(records, None, 4, Augment(crop=(32, 32)))
  with pytest.raises(UserError, match=r'config.source.crop 32x32 .* 24x48'):
    input_lib.train_batches({'source': big}, seed=0)
  with pytest.raises(UserError, match=r'config.source.batch_size=4 .* 3 proc'):
    input_lib.train_batches(
      {'source': Stream(records, None, 4)}, seed=0, process_count=3
    )
  scaled = Stream(records, None, 4, Augment(scale=(0.5, 1.5)))
  with pytest.raises(UserError, match=r'config.source.scale=.* needs config'):
    input_lib.train_batches({'source': scaled}, seed=0)


def test_importing_it_is_light():
  code = (
    'import sys, jaxuda.input as i; i.Augment(flip=True);'
    'heavy = {"tensorflow", "tensorflow_datasets", "array_record", "jax"};'
    'assert not heavy & set(sys.modules), heavy & set(sys.modules)'
  )
  root = pathlib.Path(__file__).parents[2]
  subprocess.run([sys.executable, '-c', code], cwd=root, check=True)
