"""Runs side by side: groups, names, means and differences by hand."""

import csv
import json

import numpy as np
import pytest
import run_folders
from PIL import Image

from jaxuda import compare as command
from jaxuda.reports import compare, content
from jaxuda.utils.errors import UserError

RATES = {'1e-3': (0.30, 0.34, 0.32), '5e-4': (0.40, 0.40)}


def rows(mean):
  return [
    (10, {'loss/d_main': 0.7}),
    (10, {'eval/mIoU': mean - 0.1}),
    (20, {'eval/mIoU': mean}),
  ]


@pytest.fixture
def folder(tmp_path):
  """Three seeds of one rate, two of another; one that is not finished."""
  for rate, means in RATES.items():
    for seed, mean in enumerate(means):
      run_folders.write(
        tmp_path / f'advent-{rate}-{seed}',
        f'optim.lr={rate}',
        f'seed={seed}',
        # What does not matter to a number does not part them either.
        f'log_every={10 + seed}',
        ious=[mean] * 19,
        rows=rows(mean),
      )
  run_folders.write(
    tmp_path / 'advent-5e-4-2', 'optim.lr=5e-4', 'seed=2', rows=rows(0.3)[:1]
  )
  (tmp_path / 'advent-notes').mkdir()
  return tmp_path


def test_seeds_are_one_line(folder, capsys):
  out = folder / 'out'
  assert command.main(['', f'{folder}/advent-*', f'--output={out}']) == 0
  said = capsys.readouterr().out
  assert 'advent-5e-4-2: not finished: step 10 of 600' in said
  lines = [line.split('  ') for line in said.splitlines() if ' [' in line]
  first, second = (
    [x.strip() for x in line if x.strip()] for line in lines[1:3]
  )
  assert first == [
    '[1] advent-streets optim.lr=0.001',
    '0, 1, 2',
    '30.0, 34.0, 32.0',
    '32.0 ± 2.0',
  ]
  # +10 and +6, of the seeds that both have.
  assert second == [
    '[2] advent-streets optim.lr=0.0005',
    '0, 1',
    '40.0, 40.0',
    '40.0 ± 0.0',
    '+8.0 ± 2.8',
  ]
  with open(out / 'summary.csv') as file:
    table = list(csv.DictReader(file))
  assert [float(row['mIoU']) for row in table] == [32.0, 40.0]
  assert [float(row['deviation']) for row in table] == [2.0, 0.0]
  assert [float(row['sky']) for row in table] == [32.0, 40.0]
  with open(out / 'runs.csv') as file:
    assert [float(r['mIoU']) for r in csv.DictReader(file)] == [
      *(30.0, 34.0, 32.0),
      *(40.0, 40.0),
    ]
  for name in ('curves', 'classes'):
    assert min(Image.open(out / f'{name}.png').size) > 300


def test_eight_configs_with_long_names_are_readable(tmp_path):
  """Nothing is cut: the legend stands above and below the axes."""
  for i in range(8):
    run_folders.write(
      tmp_path / f'{"long-" * 30}{i}',
      f'optim.lr={1e-4 * (i + 1)}',
      f'temperature={1 + i}',
      f'eval.scales=({1 + i}.0,)',
      f'optim.power={0.1 * (i + 1):.1f}',
      ious=[0.1 * i] * 19,
      rows=rows(0.1 * i + 0.1),
    )
  runs = content.read_all(compare.find([f'{tmp_path}/long*']))
  names = [group.name for group in compare.group(runs)]
  assert len(set(names)) == 8 and all('and 1 more' in name for name in names)
  compare.write(runs, tmp_path / 'out')
  short = tmp_path / 'short'
  compare.write(runs[:1], short)
  for name in ('curves', 'classes'):
    eight, one = (
      np.asarray(Image.open(path / f'{name}.png').convert('L'))
      for path in (tmp_path / 'out', short)
    )
    assert eight.shape[0] > one.shape[0] + 100  # room for the names
    for edge in (eight[0], eight[-1], eight[:, 0], eight[:, -1]):
      assert edge.min() == 255  # no letter is cut off


def test_a_start_counts_for_what_it_is(tmp_path):
  """Runs of two seeds that go on from runs of two seeds are one config."""
  for seed in (0, 1):
    start = run_folders.write(tmp_path / f'start-{seed}', f'seed={seed}')
    run_folders.write(
      tmp_path / f'run-{seed}',
      f'seed={seed}',
      f'init={start}',
      ious=[0.5] * 19,
    )
  other = run_folders.write(tmp_path / 'start-other', 'optim.lr=0.1')
  run_folders.write(tmp_path / 'run-9', f'init={other}', ious=[0.5] * 19)
  runs = content.read_all(compare.find([f'{tmp_path}/run-*']))
  assert [list(group.runs) for group in compare.group(runs)] == [[0, 1], [0]]


def test_seeds_with_classes_of_a_file(tmp_path):
  """Each run has its own copy of the file, which does not part them."""
  table = tmp_path / 'harbour.toml'
  table.write_text('classes = [{ name = "quay", id = 1 }]')
  for seed in (0, 1):
    run_folders.write(
      tmp_path / f'run-{seed}', f'seed={seed}', f'classes={table}'
    )
  runs = content.read_all([tmp_path / 'run-0', tmp_path / 'run-1'])
  assert len({run.config.classes for run in runs}) == 2
  assert [list(group.runs) for group in compare.group(runs)] == [[0, 1]]


def test_settings_that_list_classes(tmp_path):
  """They are no class space."""
  folder = run_folders.write(
    tmp_path / 'run',
    "feature_distance.classes=('car',)",
    config='configs/daformer.py:streets',
  )
  [group] = compare.group(content.read_all([folder]))
  assert list(group.runs) == [0]


def test_names_that_would_be_equal(tmp_path):
  """By the run that each goes on from; else by a number."""
  for i in range(2):
    start = run_folders.write(
      tmp_path / f'start-{i}', f'optim.lr={i + 1}e-3', f'name=from{i}'
    )
    run_folders.write(tmp_path / f'run-{i}', f'init={start}')
  runs = content.read_all([tmp_path / 'run-0', tmp_path / 'run-1'])
  names = [group.name for group in compare.group(runs)]
  assert [name.rpartition('init=')[2] for name in names] == ['from0', 'from1']
  for i in range(2):
    run_folders.write(
      tmp_path / f'many-{i}',
      *('optim.lr=1e-4', 'optim.power=0.5', 'eval.scales=(2.0,)'),
      f'steps={i + 5}',
    )
  run_folders.write(tmp_path / 'many-2')
  runs = content.read_all([tmp_path / f'many-{i}' for i in range(3)])
  names = [group.name for group in compare.group(runs)]
  assert names[0].removesuffix(' (1)') == names[1].removesuffix(' (2)')
  assert len(set(names)) == 3


def test_a_headline_of_another_name(tmp_path, capsys):
  """Of two means the first one; its curve is drawn, too."""
  rows = [(step, {'eval/mIoU-16': 0.2, 'eval/mIoU-13': 0.3}) for step in (1, 2)]
  folder = run_folders.write(
    tmp_path / 'run',
    ious=[0.2] * 16,
    rows=rows,
    config='configs/advent.py:synthia',
  )
  assert command.main(['', str(folder), f'--output={tmp_path / "out"}']) == 0
  assert 'mIoU-16' in capsys.readouterr().out
  assert (tmp_path / 'out' / 'curves.png').is_file()


def test_what_is_no_run(tmp_path):
  with pytest.raises(UserError, match=r'nothing\* names no run'):
    compare.find([str(tmp_path / 'nothing*')])
  run = run_folders.write(tmp_path / 'run')
  with pytest.raises(UserError, match='nothing to compare'):
    command.main(['', str(run), f'--output={tmp_path / "out"}'])
  assert not (tmp_path / 'out').exists()
  (run / 'scores.json').write_text(json.dumps({'classes': 'cityscapes19'}))
  with pytest.raises(UserError, match=r'scores\.json is damaged .*images'):
    content.read_all([run])
