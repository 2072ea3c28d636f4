"""Preparation: what the records hold, against Pillow on the raw files."""

import json
import shutil
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import raw_files
from PIL import Image
from records import pixels, read

from jaxuda.datasets import prepare, specs

SPECS = tuple(raw_files.SPLITS)


def prepared(tmp_path, spec, size, **kwargs):
  """Write a raw tree and prepare it; return (tree, folder)."""
  tree = raw_files.write(spec, tmp_path / 'raw')
  kwargs = {'raw': tmp_path / 'raw', 'data_dir': tmp_path / 'out'} | kwargs
  folder = prepare.prepare(spec, size=size, allow_missing=True, **kwargs)
  return tree, folder


@pytest.mark.parametrize('spec', SPECS)
@pytest.mark.parametrize('size', [(24, 40), None])
def test_records_are_bit_equal_to_pillow_on_the_raw_files(tmp_path, spec, size):
  tree, folder = prepared(tmp_path, spec, size)
  assert folder == specs.prepared_dir(spec, size, tmp_path / 'out')
  height, width = size or raw_files.SIZE
  for split, items in tree.items():
    records = read(folder, split)
    assert [r['id'].decode() for r in records] == sorted(items)
    for record in records:
      item = items[record['id'].decode()]
      image = Image.open(item.image).convert('RGB')
      image = image.resize((width, height), Image.BICUBIC)
      np.testing.assert_array_equal(pixels(record['image']), np.asarray(image))
      assert record['image'].startswith(b'\x89PNG')
      if item.ids is None:
        assert record['label'] == record['label_full'] == b''
        continue
      label = Image.fromarray(item.ids).resize((width, height), Image.NEAREST)
      np.testing.assert_array_equal(pixels(record['label']), np.asarray(label))
      if split == 'train':
        assert record['label_full'] == b''
      else:
        np.testing.assert_array_equal(pixels(record['label_full']), item.ids)
  assert json.loads((folder / 'metadata.json').read_text()) == {
    'encoding': spec
    if spec in ('synthia', 'camvid', 'bdd100k')
    else 'cityscapes',
    'size': list(size) if size else None,
    'jpeg': False,
    'quality': None,
    'left_out': [],
    'allow_missing': True,
  }


def test_zip_archives_hold_the_same_as_folders(tmp_path):
  _, unpacked = prepared(tmp_path, 'cityscapes', (24, 40))
  zips = tmp_path / 'zips'
  zips.mkdir()
  for top in ('leftImg8bit', 'gtFine'):
    with zipfile.ZipFile(zips / f'{top}_trainvaltest.zip', 'w') as archive:
      for path in sorted((tmp_path / 'raw' / top).rglob('*')):
        archive.write(path, path.relative_to(tmp_path / 'raw'))
  packed = prepare.prepare(
    'cityscapes',
    size=(24, 40),
    raw=zips,
    data_dir=tmp_path / 'packed',
    allow_missing=True,
  )
  for split in ('train', 'val'):
    assert read(packed, split) == read(unpacked, split)


@pytest.mark.parametrize('name', ['gta5', 'synthia'])
def test_translated_images_take_the_place_of_the_originals(tmp_path, name):
  """They have another size than the labels and make a dataset of their own."""
  tree, original = prepared(tmp_path, name, (24, 40))
  folder = tmp_path / 'raw' / 'translated'
  pictures = {}
  for i, key in enumerate(tree['train']):
    noise = np.random.default_rng(i).integers(0, 256, (30, 50, 3), np.uint8)
    raw_files.save(folder / f'{key}.png', noise)
    small = Image.fromarray(noise).resize((40, 24), Image.BICUBIC)
    pictures[key] = np.asarray(small)
  translated = prepare.prepare(
    f'{name}/translated',
    size=(24, 40),
    raw=tmp_path / 'raw',
    data_dir=tmp_path / 'out',
    allow_missing=True,
  )
  assert translated.parent.name == 'translated-24x40'
  for before, after in zip(
    read(original, 'train'), read(translated, 'train'), strict=True
  ):
    assert after['id'] == before['id'] and after['label'] == before['label']
    expected = pictures[after['id'].decode()]
    np.testing.assert_array_equal(pixels(after['image']), expected)
  assert specs.specs_of(name) == (name,)


def test_camvid_without_training_labels_and_test_split(tmp_path, capsys):
  raw_files.write('camvid', tmp_path / 'raw')
  for folder in ('trainannot', 'test', 'testannot'):
    shutil.rmtree(tmp_path / 'raw' / folder)
  folder = prepare.prepare(
    'camvid',
    size=None,
    raw=tmp_path / 'raw',
    data_dir=tmp_path / 'out',
    allow_missing=True,
  )
  printed = capsys.readouterr().out
  assert 'camvid, train: without labels' in printed
  assert 'no test split' in printed
  assert {r['label'] for r in read(folder, 'train')} == {b''}
  assert all(r['label'] for r in read(folder, 'val'))


def test_records_do_not_depend_on_the_number_of_workers(tmp_path):
  raw_files.write('camvid', tmp_path / 'raw', count=35, size=(9, 13))
  files = []
  for workers in (1, 2):
    folder = prepare.prepare(
      'camvid',
      size=(8, 16),
      raw=tmp_path / 'raw',
      data_dir=tmp_path / f'out{workers}',
      allow_missing=True,
      workers=workers,
    )
    files.append([(folder / 'crc32.json').read_text(), *read(folder, 'train')])
  assert files[0] == files[1]


def test_order_survives_the_buckets_of_a_large_split(
  tmp_path, monkeypatch, capsys
):
  from tensorflow_datasets.core import shuffle

  monkeypatch.setattr(shuffle, 'MAX_MEM_BUFFER_SIZE', 1000)
  largest = 0

  def spy(bucket, key, data, add=shuffle._Bucket.add):
    nonlocal largest
    add(bucket, key, data)
    largest = max(largest, len(bucket))

  monkeypatch.setattr(shuffle._Bucket, 'add', spy)
  tree, folder = prepared(tmp_path, 'gta5', (24, 40))
  assert [r['id'].decode() for r in read(folder, 'train')] == sorted(
    tree['train']
  )
  assert largest == 1  # one bucket would have held the whole split in memory
  # What takes a while after the bar's end is announced.
  assert 'gta5 train: putting 0.0 GiB in order' in capsys.readouterr().out


def test_jpeg_is_an_option_with_its_own_folder(tmp_path):
  tree, folder = prepared(tmp_path, 'gta5', (24, 40), jpeg=95)
  assert folder.parent.name == '24x40-jpeg'
  assert json.loads((folder / 'metadata.json').read_text())['quality'] == 95
  assert prepare.ensure('gta5', (24, 40), tmp_path / 'out') == folder
  for record in read(folder, 'train'):
    assert record['image'].startswith(b'\xff\xd8')
    item = tree['train'][record['id'].decode()]
    label = Image.fromarray(item.ids).resize((40, 24), Image.NEAREST)
    np.testing.assert_array_equal(pixels(record['label']), np.asarray(label))


def test_gta5_pairs_published_with_two_sizes_are_resized_each(tmp_path):
  raw_files.write('gta5', tmp_path / 'raw', count=1)
  rng = np.random.default_rng(0)
  ids = rng.integers(0, 34, (31, 61), np.uint8)
  label = Image.frombytes('P', (61, 31), ids.tobytes())
  label.putpalette([0] * 768)
  raw_files.save(tmp_path / 'raw/labels/20801.png', label)
  image = rng.integers(0, 256, (37, 61, 3), np.uint8)
  raw_files.save(tmp_path / 'raw/images/20801.png', image)
  for size, shape in (((24, 40), (24, 40)), (None, (37, 61))):
    folder = prepare.prepare(
      'gta5',
      size=size,
      raw=tmp_path / 'raw',
      data_dir=tmp_path / 'out',
      allow_missing=True,
    )
    record = read(folder, 'train')[1]
    expected = Image.fromarray(ids).resize(shape[::-1], Image.NEAREST)
    assert record['id'] == b'20801'
    np.testing.assert_array_equal(pixels(record['label']), np.asarray(expected))
    assert pixels(record['image']).shape == (*shape, 3)


def test_specs_sizes_and_commands():
  assert specs.split_spec('crosscity/rome') == ('crosscity', 'rome')
  assert specs.split_spec('gta5') == ('gta5', '')
  assert specs.specs_of('streets') == ('streets/game', 'streets/city')
  assert specs.parse_size('720x1280') == (720, 1280)
  assert specs.parse_size('full') is None
  assert (
    specs.prepare_command('crosscity/rome', (512, 1024))
    == 'python -m data.prepare crosscity/rome --raw=DIR --size=512x1024'
  )
  assert (
    specs.prepare_command('streets/game', (96, 192))
    == 'python -m data.prepare streets/game --size=96x192'
  )
  folder = specs.prepared_dir('crosscity/rio', (5, 6), '/x')
  assert str(folder) == '/x/crosscity/rio-5x6/1.0.0'
  assert str(specs.prepared_dir('gta5', None, '/x')) == '/x/gta5/full/1.0.0'


def test_published_counts():
  counts = {name: specs.module(name).COUNTS for name in specs.datasets()}
  assert counts.pop('streets')
  assert counts == {
    'gta5': {'train': 24966},
    'synthia': {'train': 9400},
    'cityscapes': {'train': 2975, 'val': 500},
    'crosscity': {'train': 3200, 'test': 100},
    'camvid': {'train': 367, 'val': 101, 'test': 233},
    'bdd100k': {'train': 7000, 'val': 1000},
  }


def test_streets_prepares_itself(tmp_path, monkeypatch):
  streets = specs.module('streets')
  monkeypatch.setattr(streets, 'COUNTS', {'train': 3, 'val': 2})
  folder = prepare.ensure('streets/city', (24, 48), tmp_path)
  for split, count in streets.COUNTS.items():
    records = read(folder, split)
    assert len(records) == count
    image, label = streets.render.render('city', 1, (24, 48), split)
    np.testing.assert_array_equal(pixels(records[1]['image']), image)
    np.testing.assert_array_equal(pixels(records[1]['label']), label)


def test_help_is_immediate():
  for tool in ('data.prepare', 'data.verify'):
    start = time.monotonic()
    subprocess.run(
      [sys.executable, '-m', tool, '--help'], check=True, capture_output=True
    )
    assert time.monotonic() - start < 2
