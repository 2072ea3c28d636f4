"""Raw files, wherever they lie (links, '.', '~') and however packed."""

import os
import zipfile

import pytest
import raw_files

from data import prepare, verify
from jaxuda.datasets import files, specs
from jaxuda.datasets.files import Problem


def listed(found):
  return [e.id for e in found.examples]


def test_linked_folders_are_walked_and_circles_are_not(tmp_path):
  tree = raw_files.write('cityscapes', tmp_path / 'raw')
  elsewhere = tmp_path / 'disk2' / 'aachen'
  elsewhere.parent.mkdir()
  city = tmp_path / 'raw/leftImg8bit/train/aachen'
  city.rename(elsewhere)
  city.symlink_to(elsewhere)
  # To itself, to what is above, and through another link and back.
  (elsewhere / 'self').symlink_to(elsewhere)
  (elsewhere / 'up').symlink_to(tmp_path / 'raw/leftImg8bit')
  (elsewhere.parent / 'back').symlink_to(tmp_path / 'raw/leftImg8bit/train')
  (elsewhere / 'across').symlink_to(elsewhere.parent / 'back')
  found = specs.module('cityscapes').examples(tmp_path / 'raw', '', 'train')
  assert listed(found) == sorted(tree['train'])
  assert not found.problems
  assert all(example.image and example.label for example in found.examples)


def test_one_folder_linked_twice_is_read_twice(tmp_path):
  (tmp_path / 'left/real').mkdir(parents=True)
  (tmp_path / 'left/real/a.png').touch()
  (tmp_path / 'left/link').symlink_to(tmp_path / 'left/real')
  found = files.tree(tmp_path, tmp_path / 'x.zip', 'left', dataset='cityscapes')
  assert sorted(found) == ['link/a.png', 'real/a.png']


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
  raw_files.write('gta5', tmp_path)
  # Root, as whom tests may run, can list everything.
  denied = PermissionError(13, 'Permission denied')
  monkeypatch.setattr(
    type(tmp_path), 'iterdir', lambda path: (_ for _ in ()).throw(denied)
  )
  with pytest.raises(Problem) as e:
    specs.module('gta5').examples(tmp_path, '', 'train')
  assert str(e.value) == (
    f'{tmp_path / "images"}: cannot be read: Permission denied.'
  )


@pytest.mark.parametrize('raw', ['.', '../Rome', 'Images/..'])
def test_crosscity_from_inside_a_city(tmp_path, monkeypatch, raw):
  tree = raw_files.write('crosscity/rome', tmp_path)
  monkeypatch.chdir(tmp_path / 'Rome')
  module = specs.module('crosscity')
  for split in ('train', 'test'):
    found = module.examples(type(tmp_path)(raw), 'rome', split)
    assert listed(found) == sorted(tree[split])


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  raw_files.write('gta5', tmp_path / 'raw', count=1)
  monkeypatch.setattr(specs.module('gta5'), 'COUNTS', {'train': 1})
  where = ['--raw=~/raw', '--data_dir=~/out', '--size=24x40']
  assert prepare.main(['prepare', 'gta5', *where]) == 0
  folder = specs.prepared_dir('gta5', (24, 40), tmp_path / 'out')
  assert specs.is_prepared(folder)
  for checked in (['--raw=~/raw'], where[1:]):
    argv = ['verify', 'gta5', *checked, '--json=~/report.json']
    assert verify.main(argv) == 0
    os.remove(tmp_path / 'report.json')


def compress_badly(content, start):
  content[start] = 0b110  # a deflate block of the type that there is not
  return 'invalid block type'


def encrypt(content, start):
  del start
  entry = content.rindex(b'PK\x01\x02')
  content[entry + 8] |= 1
  content[content.rindex(b'PK\x03\x04') + 6] |= 1
  return 'is encrypted'


def compress_strangely(content, start):
  del start
  content[content.rindex(b'PK\x01\x02') + 10] = 97  # WavPack
  return 'compression method is not supported'


@pytest.mark.parametrize('spoil', [compress_badly, encrypt, compress_strangely])
def test_a_member_that_cannot_be_unpacked_is_named(tmp_path, spoil):
  path = tmp_path / 'a.zip'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('b.png', bytes(1000))
  content = bytearray(path.read_bytes())
  words = spoil(content, 30 + len('b.png'))
  path.write_bytes(content)
  with pytest.raises(files.Problem) as e:
    files.read(f'{path}::b.png')
  assert str(e.value).startswith(f'{path}::b.png: cannot be read: ')
  assert words in str(e.value) and '\n' not in str(e.value)


def test_a_name_like_that_of_a_member(tmp_path):
  """A file beside an archive, and one of no archive at all."""
  for name in ('a::b.png', 'x.zip::b.png'):
    (tmp_path / name).write_bytes(b'of the file')
    assert files.read(str(tmp_path / name)) == b'of the file'


def test_a_member_that_is_more_than_it_says(tmp_path, monkeypatch):
  """Its size is a lie; or it is no lie, and no image."""
  path = tmp_path / 'a.zip'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('b.png', bytes(10**7))
  content = bytearray(path.read_bytes())
  entry = content.rindex(b'PK\x01\x02')
  content[entry + 24 : entry + 28] = (1000).to_bytes(4, 'little')
  (tmp_path / 'lie.zip').write_bytes(content)
  with pytest.raises(files.Problem, match='Bad CRC-32'):
    files.read(f'{tmp_path}/lie.zip::b.png')
  monkeypatch.setattr(files, 'MOST_BYTES', 2**20)
  with pytest.raises(files.Problem, match='has more than 1 MiB'):
    files.read(f'{path}::b.png')


def test_a_pipe_is_told(tmp_path):
  os.mkfifo(tmp_path / 'pipe.png')
  with pytest.raises(files.Problem, match='it is no regular file'):
    files.read(str(tmp_path / 'pipe.png'))
