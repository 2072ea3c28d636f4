"""Bad raw files: refused with one sentence, and nothing is left behind."""

import functools
import shutil
import zipfile

import numpy as np
import pytest
import raw_files
from PIL import Image

from benchmarks import raw_trees as raw_encodings
from data import prepare as command
from jaxuda.datasets import prepare, specs, stored
from jaxuda.utils.errors import UserError


def refusal(tmp_path, spec, **kwargs):
  """Prepare the tree in tmp_path/raw; return the sentence that refuses it."""
  with pytest.raises(UserError) as e:
    defaults = {
      'raw': tmp_path / 'raw',
      'data_dir': tmp_path / 'out',
      'allow_missing': True,
    }
    prepare.prepare(spec, size=(24, 40), **(defaults | kwargs))
  assert not (tmp_path / 'out').exists()
  sentence = str(e.value)
  assert '\n' not in sentence
  return sentence


def truncate(item):
  path = item.image
  path.write_bytes(path.read_bytes()[:-30])
  return path, 'truncated'


def lose_the_end(item):
  path = item.image
  path.write_bytes(path.read_bytes()[:-12])  # every pixel is still there
  return path, 'truncated'


def flip_a_bit(item):
  content = bytearray(item.image.read_bytes())
  content[len(content) // 2] ^= 1
  item.image.write_bytes(content)
  return item.image, 'damaged'


def truncate_label(item):
  item.label.write_bytes(item.label.read_bytes()[:100])
  return item.label, 'truncated'


def empty(item):
  item.label.write_bytes(b'')
  return item.label, 'is empty'


def directory(item):
  item.image.unlink()
  item.image.mkdir()
  return item.image, 'is a directory'


def text_file(item):
  item.image.write_text('404: not found')
  return item.image, 'neither a PNG nor a JPEG'


def deep_image(item):
  height, width = raw_files.SIZE
  deep = np.full((height, width, 3), 40_000, np.uint16)
  item.image.write_bytes(raw_encodings.png16(deep))
  return item.image, '16-bit RGB PNG'


def other_size(item):
  Image.new('RGB', (64, 64)).save(item.image)
  return item.label, f'is 37x61, its image {item.image} is 64x64'


def label_to_rgb(item):
  Image.open(item.label).convert('RGB').save(item.label)
  return item.label, 'is a 8-bit RGB PNG'


def label_as_16_bit_grey(item):
  Image.fromarray(item.ids.astype(np.uint16) * 257).save(item.label)
  return item.label, 'is a 16-bit grey PNG'


def label_as_8_bit_rgb(item):
  Image.fromarray(np.stack([item.ids] * 3, -1)).save(item.label)
  return item.label, 'is a 8-bit RGB PNG, but labels of synthia are 16-bit RGB'


def label_as_8_bit_grey(item):
  Image.fromarray(item.ids).save(item.label)
  return item.label, 'is a 8-bit grey PNG'


def label_as_jpeg(item):
  Image.fromarray(item.ids).save(item.label, 'JPEG')
  return item.label, 'labels are PNG files'


def id_outside(item):
  ids = item.ids.copy()
  ids[:2, :5] = 77
  label = Image.frombytes('P', ids.shape[::-1], ids.tobytes())
  label.putpalette([0] * 768)
  label.save(item.label)
  return item.label, '77 (10 pixels)'


def train_ids(item):
  ids = np.where(item.ids < 19, item.ids, 255)
  pixels = (ids == 255).sum()
  Image.fromarray(ids).save(item.label)
  return item.label, f'255 ({pixels:,} pixels)'


def nothing_but_void(item):
  Image.fromarray(0 * item.ids).save(item.label)
  return item.label, '--allow_missing --allow_ignored` keeps such files.'


def id_above_255(item):
  deep = np.stack([item.ids.astype(np.uint16)] * 3, -1)
  deep[0, :3, 0] = 300
  item.label.write_bytes(raw_encodings.png16(deep))
  return item.label, '300 (3 pixels)'


@pytest.mark.parametrize(
  ('spec', 'spoil'),
  [
    ('gta5', truncate),
    ('gta5', lose_the_end),
    ('cityscapes', flip_a_bit),
    ('synthia', truncate_label),
    ('gta5', truncate_label),
    ('camvid', empty),
    ('gta5', directory),
    ('camvid', text_file),
    ('cityscapes', deep_image),
    ('cityscapes', other_size),
    ('gta5', label_to_rgb),
    ('gta5', label_as_8_bit_grey),
    ('cityscapes', label_as_16_bit_grey),
    ('synthia', label_as_8_bit_rgb),
    ('synthia', label_as_8_bit_grey),
    ('camvid', label_as_jpeg),
    ('gta5', id_outside),
    ('cityscapes', train_ids),
    ('synthia', id_above_255),
    ('cityscapes', nothing_but_void),
  ],
)
def test_a_bad_file_is_named_and_nothing_is_left(tmp_path, spec, spoil):
  tree = raw_files.write(spec, tmp_path / 'raw')
  item = sorted(tree['train'].items())[1][1]
  path, words = spoil(item)
  sentence = refusal(tmp_path, spec)
  assert sentence.startswith(f'{path}: ')
  assert words in sentence


def test_missing_pairs_and_counts(tmp_path, capsys):
  tree = raw_files.write('gta5', tmp_path / 'raw')['train']
  sentence = refusal(tmp_path, 'gta5', allow_missing=False)
  assert '24,966' in sentence and 'here are 3' in sentence
  tree['00002'].label.unlink()
  tree['00003'].image.unlink()
  sentence = refusal(tmp_path, 'gta5', allow_missing=False)
  assert sentence.startswith(f'{tree["00002"].image}: has no label.')
  assert '--allow_missing' in sentence
  folder = prepare.prepare(
    'gta5',
    size=(24, 40),
    raw=tmp_path / 'raw',
    data_dir=tmp_path / 'out',
    allow_missing=True,
  )
  assert 'left out 2 files' in capsys.readouterr().out
  metadata = (folder / 'metadata.json').read_text()
  assert '00002.png' in metadata and '00003.png' in metadata
  assert '"num_examples"' not in metadata
  assert '"1"' in (folder / 'dataset_info.json').read_text()


@pytest.mark.parametrize(
  ('spec', 'folders', 'split', 'words'),
  [
    ('cityscapes', ('leftImg8bit/val', 'gtFine/val'), 'val', 'no val images'),
    ('cityscapes', ('gtFine/val',), 'val', 'no val images'),
    ('camvid', ('val', 'valannot'), 'val', 'raw/val: no such folder'),
    ('camvid', ('valannot',), 'val', 'raw/valannot: no such folder'),
    ('crosscity/rome', ('Rome/Images/Test',), 'test', 'Test: no such folder'),
  ],
)
def test_a_split_that_is_absent(
  spec, folders, split, words, tmp_path, capsys, monkeypatch
):
  """--allow_missing leaves it out, says so, and later calls know it."""
  raw_files.write(spec, tmp_path / 'raw')
  counts = dict.fromkeys(raw_files.SPLITS[spec], 3)
  monkeypatch.setattr(specs.module(spec.partition('/')[0]), 'COUNTS', counts)
  for folder in folders:
    shutil.rmtree(tmp_path / 'raw' / folder)
  sentence = refusal(tmp_path, spec, allow_missing=False)
  assert ' --allow_missing` ' in sentence
  call = functools.partial(
    prepare.prepare,
    spec,
    size=(24, 40),
    raw=tmp_path / 'raw',
    data_dir=tmp_path / 'out',
  )
  capsys.readouterr()
  folder = call(allow_missing=True)
  said = capsys.readouterr().out
  assert f'{spec}: left out the {split} split: ' in said and words in said
  assert stored.lengths(folder).keys() == counts.keys() - {split}
  assert call(allow_missing=True) == folder
  assert f'already, without its {split} split' in capsys.readouterr().out
  with pytest.raises(UserError, match=f'without its {split} split; delete'):
    call()


def test_wrong_folders_and_no_folder(tmp_path):
  assert '--raw=DIR' in refusal(tmp_path, 'gta5', raw=None)
  assert 'data/gta5/README.md' in refusal(tmp_path, 'gta5')
  (tmp_path / 'raw').mkdir()
  assert 'leftImg8bit_trainvaltest.zip' in refusal(tmp_path, 'cityscapes')
  assert 'Tokyo' in refusal(tmp_path, 'crosscity/tokyo')
  (tmp_path / 'raw/leftImg8bit_trainvaltest.zip').write_bytes(b'PK, but no zip')
  assert 'is not a zip archive' in refusal(tmp_path, 'cityscapes')


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
  raw_files.write('cityscapes', tmp_path / 'raw')
  for top in ('leftImg8bit', 'gtFine'):
    path = tmp_path / 'raw' / f'{top}_trainvaltest.zip'
    with zipfile.ZipFile(path, 'w') as archive:
      for file in sorted((tmp_path / 'raw' / top).rglob('*')):
        archive.write(file, file.relative_to(tmp_path / 'raw'))
        last = file
    shutil.rmtree(tmp_path / 'raw' / top)
  content = bytearray(path.read_bytes())
  content[content.rindex(b'IDAT') + 20] ^= 1
  path.write_bytes(content)
  assert last.name.endswith('labelIds.png')
  sentence = refusal(tmp_path, 'cityscapes')
  assert f'{path}::gtFine/val/lindau/{last.name}' in sentence


def test_an_image_of_absurd_size_is_named(tmp_path, monkeypatch):
  tree = raw_files.write('gta5', tmp_path / 'raw')['train']
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
  sentence = refusal(tmp_path, 'gta5', workers=1)
  assert sentence.startswith(f'{tree["00001"].image}: cannot be decoded: ')


def test_labels_without_a_class_are_kept_where_that_is_allowed(
  tmp_path, capsys
):
  tree = raw_files.write('cityscapes', tmp_path / 'raw')['train']
  path, _ = nothing_but_void(sorted(tree.items())[1][1])
  folder = prepare.prepare(
    'cityscapes',
    size=None,
    raw=tmp_path / 'raw',
    data_dir=tmp_path / 'out',
    allow_missing=True,
    allow_ignored=True,
  )
  assert stored.lengths(folder)['train'] == 3
  printed = capsys.readouterr().out
  assert f'warning: all ignored, 1 files: {path}: has no pixel' in printed


def test_two_files_of_one_name(tmp_path):
  tree = raw_files.write('crosscity/rome', tmp_path / 'raw')
  image = tree['train']['pano_00001_0_180'].image
  raw_files.save(image.with_suffix('.png'), np.zeros((4, 4, 3), np.uint8))
  assert 'has the same name as' in refusal(tmp_path, 'crosscity/rome')


def test_an_unwritable_data_dir(tmp_path):
  raw_files.write('gta5', tmp_path / 'raw')
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match='cannot write'):
    prepare.prepare(
      'gta5',
      size=None,
      raw=tmp_path / 'raw',
      data_dir=tmp_path / 'file' / 'out',
      allow_missing=True,
    )


def test_a_full_disk_is_foreseen(tmp_path, monkeypatch):
  raw_files.write('camvid', tmp_path / 'raw', count=prepare.ENOUGH + 1)
  usage = shutil.disk_usage(tmp_path)._replace(free=10)
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
  assert 'GiB more are needed' in refusal(tmp_path, 'camvid', workers=1)


def test_bad_arguments():
  for words, argv in {
    "did you mean 'gta5'": ['gta'],
    'there is: crosscity/rome': ['crosscity/roma', '--raw=x'],
    "neither HEIGHTxWIDTH (720x1280) nor 'full'": ['gta5', '--size=720'],
    'from 1 to 100': ['gta5', '--jpeg=0'],
  }.items():
    with pytest.raises(UserError) as e:
      command.main(['prepare', *argv])
    assert words in str(e.value)
