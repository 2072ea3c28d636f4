"""Prepared sets as ordinary TFDS datasets: decoded as Pillow decodes them."""

import subprocess
import sys

import numpy as np
import prepared
import pytest
import raw_files
import tensorflow_datasets as tfds
from records import pixels, read

import jaxuda.tfds
from jaxuda.datasets import builder, prepare, specs
from jaxuda.utils.errors import UserError

SIZE = (24, 40)


def expected(record):
  """What a stored record decodes to, by Pillow; 255 where it has no map."""
  found = {'id': record['id']}
  for key, data in record.items():
    if key != 'id':
      decoded = pixels(data) if data else np.full((1, 1), 255, np.uint8)
      found[key] = decoded if decoded.ndim == 3 else decoded[..., None]
  return found


def check(split, folder, *read_by_tfds):
  """Compare all records of a split with what TFDS gives of them."""
  stored = [expected(record) for record in read(folder, split)]
  for found in read_by_tfds:
    found = list(found)
    assert len(found) == len(stored)
    for one, record in zip(found, stored, strict=True):
      for key, value in one.items():
        np.testing.assert_array_equal(value, record[key], key)


@pytest.mark.parametrize(
  ('spec', 'jpeg', 'described'),
  [
    ('gta5', None, {'label': (*SIZE, 1)}),
    ('gta5', 80, {'label': (*SIZE, 1)}),
    ('camvid', None, {'label': (*SIZE, 1), 'label_full': (None, None, 1)}),
    # Its training split has no labels.
    (
      'crosscity/rome',
      None,
      {'label': (None, None, 1), 'label_full': (None, None, 1)},
    ),
  ],
)
def test_tfds_decodes_images_and_labels(tmp_path, spec, jpeg, described):
  raw_files.write(spec, tmp_path / 'raw')
  folder = prepare.prepare(
    spec,
    size=SIZE,
    raw=tmp_path / 'raw',
    data_dir=tmp_path,
    jpeg=jpeg,
    allow_missing=True,
  )
  name = f'{folder.parents[1].name}/{folder.parent.name}'
  decoders = {'image': jaxuda.tfds.ACCURATE} if jpeg else None
  loaded, info = tfds.load(
    name, data_dir=tmp_path, with_info=True, decoders=decoders
  )
  sources = tfds.data_source(name, data_dir=tmp_path)
  assert list(loaded) == list(sources) == list(raw_files.SPLITS[spec])
  for split in loaded:
    check(split, folder, loaded[split].as_numpy_iterator(), sources[split])
  shapes = {k: v.shape for k, v in info.features.items() if k != 'id'}
  assert shapes == {'image': (*SIZE, 3)} | described
  if jpeg:  # by TFDS alone it is close to that
    ds = tfds.load(name, data_dir=tmp_path, split='train')
    for one, other in zip(ds, sources['train'], strict=True):
      apart = np.int32(one['image']) - other['image']
      assert 0 < abs(apart).max() < 8
  kept = {k for k, v in read(folder, [*loaded][-1])[0].items() if v}
  assert set(info.features) == kept  # the last split has all that there is
  names = info.features['label'].names
  assert names[7] == ('fence' if spec == 'camvid' else 'road')
  assert names[11] == ('unlabelled' if spec == 'camvid' else 'building')


def test_photos_have_no_label_at_all(tmp_path):
  for i in range(2):
    noise = np.random.default_rng(i).integers(0, 256, (9, 13, 3), np.uint8)
    raw_files.save(tmp_path / f'photos/{i}.png', noise)
  spec = f'folder:{tmp_path}/photos'
  folder = prepare.prepare(spec, size=None, data_dir=tmp_path / 'data')
  name = f'{specs.tfds_name(spec)}/full'
  ds = tfds.load(name, data_dir=tmp_path / 'data', split='train')
  source = tfds.data_source(name, data_dir=tmp_path / 'data', split='train')
  check('train', folder, ds.as_numpy_iterator(), source)
  assert set(ds.element_spec) == set(source[0]) == {'image', 'id'}


def test_pseudo_labels(tmp_path):
  """With confidences, and soft labels of 19 classes one below the other."""
  rng = np.random.default_rng(0)

  def examples(split):
    del split
    for i in range(3):
      label = rng.integers(0, 34, SIZE, np.uint8)
      more = {
        'confidence': rng.integers(0, 256, SIZE, np.uint8),
        'soft': rng.integers(0, 256, (19 * SIZE[0], SIZE[1]), np.uint8),
      }
      image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
      yield prepared.example(f'{i}', image, label) | {
        key: prepared.png(value) for key, value in more.items()
      }

  folder = builder.write(
    'streets/city',
    SIZE,
    tmp_path,
    None,
    counts={'train': 3},
    has=dict.fromkeys(('label', 'confidence', 'soft'), ('train',)),
    generate=examples,
    metadata={'pseudo': {'of': 'streets'}, 'soft': 19},
  ).rename(tmp_path / 'labels')
  opened = tfds.builder_from_directory(folder)
  assert set(opened.info.features) == {
    *('image', 'id', 'label', 'confidence', 'soft')
  }
  ds = opened.as_dataset('train').as_numpy_iterator()
  check('train', folder, ds, opened.as_data_source('train'))


def test_a_name_is_known_before_it_is_prepared(tmp_path, monkeypatch):
  streets = specs.module('streets')
  monkeypatch.setattr(streets, 'COUNTS', {'train': 3, 'val': 2})
  builder = tfds.builder('streets/city-24x48', data_dir=tmp_path)
  assert not any(tmp_path.iterdir())
  builder.download_and_prepare()
  source = builder.as_data_source('val')
  image, label = streets.render.render('city', 1, (24, 48), 'val')
  np.testing.assert_array_equal(source[1]['image'], image)
  np.testing.assert_array_equal(source[1]['label'][..., 0], label)
  # A part of a split; records may end in any byte.
  part = tfds.load('streets/city-24x48', data_dir=tmp_path, split='train[1:]')
  assert [e['id'] for e in part.as_numpy_iterator()] == [
    b'city_train_00001',
    b'city_train_00002',
  ]
  for name, told in {
    'gta5/72x128-jpeg': 'data.prepare gta5 --raw=DIR --size=72x128 .*--jpeg`',
    'gta5': "'gta5' names no size",
    'crosscity/72x128': "'crosscity' has variants",
  }.items():
    with pytest.raises(UserError, match=told):
      tfds.load(name, data_dir=tmp_path)


def test_a_data_source_needs_no_jaxuda(tmp_path):
  prepared.write(
    tmp_path, 'gta5', prepared.SIZE, {'train': [prepared.noise(5)]}
  )
  code = (
    'import sys, tensorflow_datasets as tfds\n'
    f'found = tfds.data_source("gta5/24x48", data_dir={str(tmp_path)!r})\n'
    'print(found["train"][0]["image"][0, 0].tolist())\n'
    'assert not {"jaxuda", "tensorflow"} & {*sys.modules}'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path
  )
  assert done.stdout == '[5, 5, 5]\n', done.stderr
