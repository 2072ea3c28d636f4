"""Verification of raw files and of prepared records."""

import json

import numpy as np
import pytest
import raw_files
from PIL import Image

from benchmarks.raw_trees import write_raw_tree
from data import prepare as prepare_command
from data import verify
from jaxuda.datasets import prepare, specs
from jaxuda.utils.cli import run_cli


def run(tmp_path, *argv):
  """Run the command line; return (exit code, the reports of its JSON file)."""
  path = tmp_path / 'report.json'
  with pytest.raises(SystemExit) as e:
    run_cli(verify.main, ['verify', *argv, f'--json={path}'])
  written = json.loads(path.read_text())
  assert written['ok'] == (e.value.code == 0)
  assert written['ok'] == all(r['ok'] for r in written['reports'])
  return e.value.code, written['reports']


def complete(monkeypatch, spec, count=3):
  """Make `count` images for each split the published number."""
  module = specs.module(spec.partition('/')[0])
  counts = dict.fromkeys(raw_files.SPLITS[spec], count)
  monkeypatch.setattr(module, 'COUNTS', counts)


@pytest.mark.parametrize('spec', raw_files.SPLITS)
def test_a_sound_download(tmp_path, monkeypatch, capsys, spec):
  raw_files.write(spec, tmp_path)
  complete(monkeypatch, spec)
  code, [report] = run(tmp_path, spec, f'--raw={tmp_path}')
  assert code == 0
  assert report['dataset'] == spec
  assert report['problems'] == report['warnings'] == []
  assert report['splits'] == {
    split: {'found': 3, 'expected': 3} for split in raw_files.SPLITS[spec]
  }
  assert f'{spec}: all is well' in capsys.readouterr().out


@pytest.mark.parametrize('spec', raw_files.SPLITS)
def test_rendered_trees_are_sound_downloads(tmp_path, monkeypatch, spec):
  name = spec.partition('/')[0]
  write_raw_tree(name, tmp_path, count=2, size=(48, 96))
  complete(monkeypatch, spec, 2)
  code, [report] = run(tmp_path, spec, f'--raw={tmp_path}')
  assert code == 0
  assert report['problems'] == report['warnings'] == []


def test_every_fault_is_found_and_named(tmp_path, monkeypatch, capsys):
  complete(monkeypatch, 'cityscapes', 9)
  tree = raw_files.write('cityscapes', tmp_path, count=9)['train']
  items = [item for _, item in sorted(tree.items())]
  items[0].image.write_bytes(items[0].image.read_bytes()[:200])
  items[1].label.unlink()
  items[2].image.unlink()
  Image.new('RGB', (8, 8)).save(items[3].image)
  Image.fromarray(items[4].ids).convert('RGB').save(items[4].label)
  ids = items[5].ids.copy()
  ids[0, :7], ids[1, :2] = 99, 255
  Image.fromarray(ids).save(items[5].label)
  Image.fromarray(0 * ids).save(items[6].label)
  # Both halves of one pair at once.
  items[7].image.write_bytes(b'')
  items[7].label.write_bytes(b'')
  code, [report] = run(tmp_path, 'cityscapes', f'--raw={tmp_path}')
  assert code == 1
  assert [(p['kind'], p['path']) for p in report['problems']] == [
    ('unreadable', str(items[0].image)),
    ('missing pair', str(items[1].image)),
    ('missing pair', str(items[2].label)),
    ('size mismatch', str(items[3].label)),
    ('wrong encoding', str(items[4].label)),
    ('unknown ids', str(items[5].label)),
    ('all ignored', str(items[6].label)),
    ('unreadable', str(items[7].image)),
    ('unreadable', str(items[7].label)),
  ]
  assert report['problems'][5]['ids'] == {'99': 7, '255': 2}
  assert report['warnings'] == []
  assert {p['split'] for p in report['problems']} == {'train'}
  printed = capsys.readouterr().out
  assert f'{items[5].label}: has ids outside the cityscapes map' in printed


def test_counts_against_the_published_ones(tmp_path):
  raw_files.write('synthia', tmp_path)
  code, [report] = run(tmp_path, 'synthia', f'--raw={tmp_path}')
  assert code == 1
  assert report['splits'] == {'train': {'found': 3, 'expected': 9400}}
  assert [p['kind'] for p in report['problems']] == ['wrong count']


def test_warnings_alone_are_no_failure(tmp_path, monkeypatch):
  complete(monkeypatch, 'gta5', 4)
  tree = raw_files.write('gta5', tmp_path)['train']
  # Published with two sizes, see data/gta5/README.md.
  for folder, name in (('images', 'image'), ('labels', 'label')):
    path = getattr(tree['00001'], name)
    path.with_name('15188.png').write_bytes(path.read_bytes())
    assert (tmp_path / folder / '15188.png').exists()
  Image.new('RGB', (8, 8)).save(tmp_path / 'images' / '15188.png')
  code, [report] = run(tmp_path, 'gta5', f'--raw={tmp_path}')
  assert code == 0
  assert [w['kind'] for w in report['warnings']] == ['published mismatch']


def test_two_files_of_one_name_are_a_row(tmp_path, monkeypatch, capsys):
  complete(monkeypatch, 'gta5')
  tree = raw_files.write('gta5', tmp_path)['train']
  png = tree['00001'].image
  Image.open(png).save(png.with_suffix('.jpg'))
  code, [report] = run(tmp_path, 'gta5', f'--raw={tmp_path}')
  assert code == 1
  [problem] = report['problems']
  assert (problem['kind'], problem['path']) == ('duplicate', str(png))
  assert f'same name as {png.with_suffix(".jpg")}' in problem['message']
  assert 'duplicate' in capsys.readouterr().out


def test_camvid_without_training_labels_is_warned_of(
  tmp_path, monkeypatch, capsys
):
  complete(monkeypatch, 'camvid')
  raw_files.write('camvid', tmp_path)
  (tmp_path / 'trainannot').rename(tmp_path / 'elsewhere')
  code, [report] = run(tmp_path, 'camvid', f'--raw={tmp_path}')
  assert code == 0
  assert [(w['split'], w['kind'], w['path']) for w in report['warnings']] == [
    ('train', 'no labels', str(tmp_path / 'trainannot'))
  ]
  printed = capsys.readouterr().out
  assert 'camvid: nothing wrong, 1 warnings' in printed
  assert 'all is well' not in printed


def test_a_number_that_nobody_published(tmp_path, monkeypatch):
  raw_files.write('gta5', tmp_path)
  monkeypatch.setattr(specs.module('gta5'), 'COUNTS', {'train': None})
  code, [report] = run(tmp_path, 'gta5', f'--raw={tmp_path}')
  assert code == 0
  assert report['splits'] == {'train': {'found': 3, 'expected': None}}


def test_several_variants_make_several_reports(tmp_path, monkeypatch):
  complete(monkeypatch, 'crosscity/rome')
  raw_files.write('crosscity/rome', tmp_path)
  for city in ('Rio', 'Tokyo', 'Taipei'):
    (tmp_path / city).symlink_to(tmp_path / 'Rome')
  code, reports = run(tmp_path, 'crosscity', f'--raw={tmp_path}')
  assert code == 0
  assert [r['dataset'] for r in reports] == [
    f'crosscity/{city}' for city in ('rome', 'rio', 'tokyo', 'taipei')
  ]


def test_arguments_and_missing_datasets(tmp_path, capsys):
  for words, argv in {
    'no such folder': ['gta5', f'--raw={tmp_path / "none"}'],
    'one of the two': ['gta5'],
    'it has no raw files': ['streets', '--raw=x'],
    'python -m data.prepare gta5 --raw=DIR --size=9x9': [
      'gta5',
      '--size=9x9',
      f'--data_dir={tmp_path}',
    ],
  }.items():
    with pytest.raises(SystemExit) as e:
      run_cli(verify.main, ['verify', *argv])
    assert e.value.code == 2
    assert words in capsys.readouterr().err


@pytest.fixture
def camvid(tmp_path, monkeypatch):
  """Prepare a CamVid of three images for each split, as if that were all."""
  complete(monkeypatch, 'camvid')
  raw_files.write('camvid', tmp_path / 'raw')
  return prepare.prepare(
    'camvid',
    size=(24, 40),
    raw=tmp_path / 'raw',
    data_dir=tmp_path / 'out',
  )


def check_prepared(tmp_path):
  where = f'--data_dir={tmp_path / "out"}'
  return run(tmp_path, 'camvid', '--size=24x40', where)


def test_sound_records(tmp_path, camvid):
  code, [report] = check_prepared(tmp_path)
  assert code == 0
  assert report['where'] == str(camvid)
  assert report['splits'] == {
    split: {'found': 3, 'expected': 3} for split in ('train', 'val', 'test')
  }


def test_records_of_a_part_of_the_download(tmp_path, monkeypatch, camvid):
  counts = {'train': 3, 'val': 101, 'test': None}
  monkeypatch.setattr(specs.module('camvid'), 'COUNTS', counts)
  code, [report] = check_prepared(tmp_path)
  assert code == 1
  assert report['splits']['val'] == {'found': 3, 'expected': 101}
  [problem] = report['problems']
  assert (problem['split'], problem['kind']) == ('val', 'wrong count')
  assert '3 val images, but 101 are published' in problem['message']
  # Where --allow_missing was given, that is known and no fault.
  metadata = json.loads((camvid / 'metadata.json').read_text())
  assert metadata['allow_missing'] is False
  metadata['allow_missing'] = True
  (camvid / 'metadata.json').write_text(json.dumps(metadata))
  code, [report] = check_prepared(tmp_path)
  assert code == 0
  assert [w['kind'] for w in report['warnings']] == ['partial']


def test_streets_are_checked_at_their_own_size(tmp_path, monkeypatch):
  streets = specs.module('streets')
  monkeypatch.setattr(streets, 'COUNTS', {'train': 2})
  monkeypatch.setattr(streets, 'DEFAULT_SIZE', (24, 48))
  where = f'--data_dir={tmp_path}'
  assert prepare_command.main(['prepare', 'streets', where]) == 0
  code, reports = run(tmp_path, 'streets', where)
  assert code == 0
  assert ['24x48' in r['where'] for r in reports] == [True, True]


def test_a_flipped_bit_anywhere_in_a_record_file_is_found(tmp_path, camvid):
  [path] = camvid.glob('camvid-val.array_record*')
  sound = path.read_bytes()
  rng = np.random.default_rng(0)
  # The file is padded to 64 KiB blocks: only its chunks hold records.
  for position in rng.integers(100, sound.rindex(b'0016E5'), 5):
    content = bytearray(sound)
    content[position] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    code, [report] = check_prepared(tmp_path)
    assert code == 1
    assert {p['kind'] for p in report['problems']} == {'damaged record'}
    assert all(p['path'].startswith(str(path)) for p in report['problems'])


def test_a_truncated_and_a_missing_record_file(tmp_path, camvid):
  [path] = camvid.glob('camvid-val.array_record*')
  path.write_bytes(path.read_bytes()[:-100])
  [lost] = camvid.glob('camvid-test.array_record*')
  lost.unlink()
  code, [report] = check_prepared(tmp_path)
  assert code == 1
  # ArrayRecord opens a truncated file without a word, and finds nothing in it.
  assert [(p['split'], p['kind']) for p in report['problems']] == [
    ('val', 'wrong count'),
    ('test', 'wrong count'),
  ]
  assert '0 val records, 3 were prepared' in report['problems'][0]['message']


def test_records_that_are_sound_but_not_those_written(tmp_path, camvid):
  # Two split files swapped: every chunk is intact.
  [val] = camvid.glob('camvid-val.array_record*')
  [test] = camvid.glob('camvid-test.array_record*')
  val_bytes = val.read_bytes()
  val.write_bytes(test.read_bytes())
  test.write_bytes(val_bytes)
  code, [report] = check_prepared(tmp_path)
  assert code == 1
  assert [p['kind'] for p in report['problems']] == ['damaged record'] * 6
  assert 'crc32.json disagrees' in report['problems'][0]['message']


def test_damaged_metadata_is_one_sentence(tmp_path, camvid, capsys):
  (camvid / 'crc32.json').write_text('{"train": [')
  with pytest.raises(SystemExit) as e:
    run_cli(
      verify.main,
      ['verify', 'camvid', '--size=24x40', f'--data_dir={tmp_path / "out"}'],
    )
  assert e.value.code == 2
  assert 'delete it and prepare it again' in capsys.readouterr().err
