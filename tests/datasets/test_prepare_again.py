"""A dataset that is there already: what it was made from is not forgotten."""

import json
import shlex

import pytest
import raw_files
from ml_collections import ConfigDict

from jaxuda import input as input_lib
from jaxuda.datasets import prepare, specs, stored
from jaxuda.input import from_config
from jaxuda.utils.errors import UserError

SIZE = (24, 40)


def call(tmp_path, spec, **kwargs):
  kwargs = {'raw': tmp_path / 'raw', 'data_dir': tmp_path / 'out'} | kwargs
  return prepare.prepare(spec, size=SIZE, **kwargs)


@pytest.fixture
def partial(tmp_path):
  """Return the folder of a GTA5 prepared from 3 of its images."""
  raw_files.write('gta5', tmp_path / 'raw')
  return call(tmp_path, 'gta5', allow_missing=True)


def test_prepared_twice_says_where(tmp_path, partial, capsys):
  before = {p: p.stat().st_mtime_ns for p in partial.iterdir()}
  capsys.readouterr()
  again = call(tmp_path, 'gta5', raw=None, allow_missing=True)
  assert again == partial
  assert capsys.readouterr().out == (
    f'gta5 is prepared already, from 3 of 24,966 images: {partial}\n'
  )
  assert {p: p.stat().st_mtime_ns for p in partial.iterdir()} == before


def test_a_part_is_not_taken_for_the_whole(tmp_path, partial, monkeypatch):
  with pytest.raises(UserError) as e:
    call(tmp_path, 'gta5')
  assert str(e.value) == (
    'gta5 was prepared from 3 of 24,966 images; '
    f'delete {partial} and prepare again.'
  )
  for published in (3, None):
    monkeypatch.setattr(specs.module('gta5'), 'COUNTS', {'train': published})
    assert call(tmp_path, 'gta5') == partial


def test_a_split_that_may_be_missing_makes_no_part(tmp_path, monkeypatch):
  raw_files.write('camvid', tmp_path / 'raw')
  for folder in ('test', 'testannot'):
    (tmp_path / 'raw' / folder).rename(tmp_path / folder)
  counts = {'train': 3, 'val': 3, 'test': 3}
  monkeypatch.setattr(specs.module('camvid'), 'COUNTS', counts)
  folder = call(tmp_path, 'camvid')
  assert call(tmp_path, 'camvid') == folder


def test_training_says_that_it_reads_a_part(tmp_path, partial, capsys):
  settings = {'name': 'gta5', 'split': 'train', 'size': SIZE}
  config = ConfigDict({'data_dir': str(tmp_path / 'out'), 'eval': settings})
  capsys.readouterr()
  for _ in range(2):  # once, however often it is opened
    assert len(from_config.open_eval(config)) == 3
  assert capsys.readouterr().out == (
    f'gta5, train: prepared from 3 of 24,966 images ({partial})\n'
  )


def test_a_count_that_nobody_published(tmp_path, monkeypatch):
  raw_files.write('gta5', tmp_path / 'raw')
  monkeypatch.setattr(specs.module('gta5'), 'COUNTS', {'train': None})
  assert stored.lengths(call(tmp_path, 'gta5')) == {'train': 3}


def test_another_jpeg_quality_is_refused(tmp_path, capsys):
  raw_files.write('gta5', tmp_path / 'raw')
  folder = call(tmp_path, 'gta5', jpeg=80, allow_missing=True)
  with pytest.raises(UserError) as e:
    call(tmp_path, 'gta5', jpeg=95, allow_missing=True)
  assert str(e.value) == (
    'gta5 is prepared at JPEG quality 80, not 95; '
    f'delete {folder} and prepare again.'
  )
  assert call(tmp_path, 'gta5', jpeg=80, allow_missing=True) == folder


def test_the_command_that_repairs_keeps_the_jpeg_quality(tmp_path):
  raw_files.write('gta5', tmp_path / 'raw')
  folder = call(tmp_path, 'gta5', jpeg=80, allow_missing=True)
  command = 'python -m data.prepare gta5 --raw=DIR --size=24x40 '
  command += f'--data_dir={tmp_path / "out"} --jpeg'
  [file] = folder.glob('*.array_record*')
  file.write_bytes(b'')
  for quality in ('=80', ''):  # the second time it cannot be known
    with pytest.raises(UserError) as e:
      input_lib.open_records('gta5', SIZE, 'train', tmp_path / 'out')
    assert str(e.value).endswith(f'prepare it again: {command}{quality}')
    (folder / 'metadata.json').write_text('{')


def test_damaged_metadata_is_one_sentence(tmp_path, partial):
  (partial / 'metadata.json').write_text('{')
  with pytest.raises(UserError, match=r'is damaged \(metadata.json: .*delete'):
    call(tmp_path, 'gta5', allow_missing=True)


def test_a_dataset_that_is_not_prepared_gives_the_command(tmp_path):
  folder = tmp_path / 'my data'
  with pytest.raises(UserError) as e:
    prepare.ensure('gta5', (720, 1280), folder)
  sentence = str(e.value)
  assert f'gta5 is not prepared at 720x1280 in {folder}: ' in sentence
  command = sentence.split('`')[1]
  assert shlex.split(command)[2:] == [
    'data.prepare',
    'gta5',
    '--raw=DIR',
    '--size=720x1280',
    f'--data_dir={folder}',
  ]
  for words in (':streets', '$TFDS_DATA_DIR'):
    assert words in sentence
  assert '\n' not in sentence


def test_the_folder_by_default_is_named_too(tmp_path, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  with pytest.raises(UserError) as e:
    prepare.ensure('gta5', (720, 1280))
  assert f' in {tmp_path}: ' in str(e.value)
  assert '--size=720x1280`' in str(e.value)


def test_what_was_allowed_is_noted(tmp_path, partial):
  assert json.loads((partial / 'metadata.json').read_text())['allow_missing']
