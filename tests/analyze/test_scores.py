"""The analyses of what runs have written: their scores.json and config.json."""

import numpy as np
import pytest
import tiny
from analyses import analyze, finished, picture, table

from jaxuda.utils.errors import UserError


def test_confusion_command(tmp_path, capsys):
  config = tiny.config('advent_patch')
  before, after = np.diag(np.full(19, 100)), np.diag(np.full(19, 100))
  before[1, :2] = 75, 25  # sidewalk as road
  after[1, :2] = 30, 70
  before[16] = after[16] = 0  # no train
  folders = [
    finished(tmp_path / name, config, counts=counts)
    for name, counts in (('a', before), ('b', after))
  ]
  analyze(
    'confusion', f'--workdirs={folders[0]},{folders[1]}',
    f'--output={tmp_path / "out"}',
  )  # fmt: skip
  rows = table(tmp_path / 'out' / 'confusion.csv')
  cells = {(r['run'], r['class'], r['prediction']): r for r in rows}
  assert len(rows) == 2 * 19 * 19
  assert cells['a', 'sidewalk', 'road']['share'] == '0.75'
  assert cells['b', 'sidewalk', 'road']['pixels'] == '30'
  assert cells['b', 'train', 'train']['share'] == ''
  said = capsys.readouterr().out
  # 17 classes are found always: (17 + 1/4) / 18 and (17 + 7/10) / 18.
  assert 'a 95.8%, b 98.3%' in said
  assert 'sidewalk as road -45, sidewalk as sidewalk +45' in said
  two = picture(tmp_path / 'out' / 'confusion.png')
  analyze('confusion', f'--workdirs={folders[0]}', f'--output={tmp_path}')
  one = picture(tmp_path / 'confusion.png')
  assert two.shape[1] > 2.5 * one.shape[1]
  assert 'sidewalk as road 75' in capsys.readouterr().out


def test_confusion_of_networks_of_other_classes(tmp_path, capsys):
  """One has the scored classes; the other's more classes are merged."""
  config = tiny.config('advent_patch')
  merged = np.diag(np.full(19, 100))
  merged = np.pad(merged, ((0, 0), (0, 1)))
  merged[2, 2], merged[2, 19] = 40, 60  # building as what has no place
  folders = [
    finished(tmp_path / name, config, counts=counts)
    for name, counts in (('own', np.diag(np.full(19, 100))), ('more', merged))
  ]
  workdirs = ','.join(map(str, folders))
  analyze('confusion', f'--workdirs={workdirs}', f'--output={tmp_path}')
  rows = table(tmp_path / 'confusion.csv')
  assert len(rows) == 19 * 19 + 19 * 20
  cells = {(r['run'], r['class'], r['prediction']): r for r in rows}
  assert cells['more', 'building', 'other']['share'] == '0.6'
  assert 'building as other +60' in capsys.readouterr().out
  picture(tmp_path / 'confusion.png')


def test_patch_size_command(tmp_path, capsys):
  values = {(64, 0): 20, (64, 1): 22, (32, 0): 25, (32, 1): 28, (None, 0): 19}
  folders = [
    finished(
      tmp_path / f'{size}-{seed}',
      tiny.config('advent_patch', f'patch.size={size}', f'seed={seed}'),
      value / 100,
    )
    for (size, seed), value in reversed(values.items())
  ]
  controls = [
    finished(
      tmp_path / f'adabn-{seed}', tiny.config('adabn', f'seed={seed}'), miou
    )
    for seed, miou in enumerate((0.25, 0.26))
  ]
  arguments = (
    'patch_size', f'--workdirs={",".join(map(str, folders))}',
    f'--controls={",".join(map(str, controls))}',
    f'--output={tmp_path / "out"}',
  )  # fmt: skip
  analyze(*arguments)
  rows = table(tmp_path / 'out' / 'patch_size.csv')
  assert [(r['patch_size'], r['seed'], r['mIoU']) for r in rows][-3:] == [
    ('whole', '0', '0.19'),
    ('adabn', '0', '0.25'),
    ('adabn', '1', '0.26'),
  ]
  said = capsys.readouterr().out
  # Standard deviations (n - 1): sqrt(2) and 3 / sqrt(2).
  assert '32 26.5 ± 2.1, 64 21.0 ± 1.4, whole 19.0; best 32 (selected' in said
  # sqrt(2.12^2 + 1.41^2) = 2.5 < 5.5, and sqrt(2.12^2 + 0.71^2) = 2.2 > 1.
  assert "+5.5 points from that of 64, beyond the seeds' spread" in said
  assert (
    "+1.0 points from that of adabn (25.5 ± 0.7), within the seeds' spread"
    in said
  )
  assert 'note' not in said
  picture(tmp_path / 'out' / 'patch_size.png')

  longer = finished(
    tmp_path / 'longer', tiny.config('advent_patch', 'steps=9'), 0.1
  )
  analyze(
    'patch_size', f'--workdirs={folders[1]},{longer}', f'--output={tmp_path}'
  )
  assert 'note: the runs differ in steps, too: 600, 9' in (
    capsys.readouterr().out
  )
  with pytest.raises(UserError, match=r'adabn-0 is a run of adabn'):
    analyze('patch_size', f'--workdirs={controls[0]}', f'--output={tmp_path}')
  twice = finished(
    tmp_path / 'twice',
    tiny.config('advent_patch', 'patch.size=64', 'seed=1'),
    0.1,
  )
  both = f'{folders[3]},{twice}'
  with pytest.raises(UserError, match='and the seed of another run'):
    analyze('patch_size', f'--workdirs={both}', f'--output={tmp_path}')
