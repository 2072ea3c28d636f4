"""The page's example of data of one's own: its files, and its commands.

The commands are data.verify, data.prepare, jaxuda.main, jaxuda.evaluate and
jaxuda.predict, with a tiny network.
"""

import csv
import importlib
import json
import os
import shlex
import shutil

import campus
import numpy as np
import pytest
import tiny
import tiny_runs
from PIL import Image

from data import verify
from jaxuda import config as config_lib
from jaxuda import evaluate, labels
from jaxuda.config import class_tables
from jaxuda.datasets import specs
from jaxuda.utils.errors import UserError

# In place of the page's sizes, of its network and its method.
SMALL = {'96x192': '48x96', 'dacs.py:mine': 'adabn.py:mine,encoder=resnet'}
CHOSEN = ('target.size', 'eval.size')  # from the images


def commands():
  """Return the arguments of each command of the page that runs here."""
  text = campus.PAGE.read_text()
  blocks = text.split('<!-- run by tests/docs/test_own_data.py -->')[1:]
  found = []
  for block in blocks:
    for line in block.split('```')[1].splitlines()[1:]:
      for old, new in SMALL.items():
        line = line.replace(old, new)
      found.append(shlex.split(line)[2:])
  return found


def run(module, *given):
  for flag in given:
    if flag.startswith('--config='):
      settings = tiny_runs.small(flag.partition('=')[2], stages=True)
      given = [
        *(f'--config.{s}' for s in settings if not s.startswith(CHOSEN)),
        *('--config.source.size=48x96', '--config.steps=4', *given),
      ]
  assert importlib.import_module(module).main([module, *given]) == 0, given


def scores(folder):
  return json.loads((folder / 'scores.json').read_text())


def pixels(count):
  """How many pixels of each class the robot's labels have, ids 0 left out."""
  ids = [campus.scene('city', i, 'val')[1] for i in range(count)]
  return np.bincount(np.ravel(ids), minlength=8)[1:]


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path, monkeypatch, capsys):
  campus.write(tmp_path)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'data'))
  counts = {'train': 4, 'val': 2}
  monkeypatch.setattr(specs.module('streets'), 'COUNTS', counts)
  for command in commands():
    run(*command)
  assert_scored_in_its_own_classes(tmp_path)
  capsys.readouterr()
  assert_needs_its_files_no_more(tmp_path)
  assert 'note:' not in capsys.readouterr().out


def assert_scored_in_its_own_classes(place):
  found = scores(place / 'runs/campus')
  assert tuple(found['iou']) == campus.CLASSES
  assert set(found['means']) == {'mIoU-7', 'mIoU-6'}
  assert found['classes'] == 'simulator.toml'
  labelled = np.sum(found['confusion'], 1)
  np.testing.assert_array_equal(labelled, pixels(found['images']))
  with open(place / 'runs/campus/metrics.csv', newline='') as file:
    columns = csv.DictReader(file).fieldnames
  assert {f'iou/{name}' for name in campus.CLASSES} <= {*columns}
  ids = Image.open(place / 'predicted/campus/b/1_ids.png')
  assert ids.size == (96, 48) and np.max(ids) < 7
  # A network of the 19 classes, by `from`.
  [other] = (place / 'runs/photos/evaluation').iterdir()
  found = scores(other)
  assert tuple(found['iou']) == campus.CLASSES
  counts = np.array(found['confusion'])
  assert counts.shape == (7, 8)  # the last column: what is of no class
  np.testing.assert_array_equal(counts.sum(1), pixels(found['images']))


def assert_needs_its_files_no_more(place):
  """A moved run, whose images and TOML files are gone, scores as it did."""
  moved = place / 'moved'
  shutil.copytree(place / 'runs/campus', moved)
  shutil.rmtree(moved / 'evaluation')
  (place / 'campus').rename(place / 'hidden')
  evaluate.main(['evaluate', f'--workdir={moved}', '--flip'])
  [again] = (moved / 'evaluation').iterdir()
  [before] = (place / 'runs/campus/evaluation').iterdir()
  assert scores(again) == scores(before)
  # Its classes are those of the run that it was copied from.
  spaces = [
    labels.space(config_lib.read_run(folder).classes)
    for folder in (moved, place / 'runs/campus')
  ]
  assert spaces[0].name != spaces[1].name
  assert spaces[0].identity == spaces[1].identity


def test_a_changed_class_table_is_told(tmp_path, capsys):
  campus.write(tmp_path, count=1)
  path, workdir = tmp_path / 'campus/simulator.toml', tmp_path / 'run'
  flat, text = {'classes': str(path)}, path.read_text()
  class_tables.keep(workdir, flat)
  path.write_text(text + '# a comment is no change\n')
  class_tables.check(workdir, flat)
  copy = class_tables.kept(workdir, flat)['classes']
  assert not capsys.readouterr().out
  path.write_text(text.replace('"sign"', '"board"'))
  with pytest.raises(UserError, match=f'is not what it was when {workdir}'):
    class_tables.check(workdir, flat)
  assert class_tables.kept(workdir, flat) == {'classes': copy}
  told = f'note: {path} has changed since; the classes are those of {copy}'
  assert told in capsys.readouterr().out
  assert 'sign' in labels.space(copy).classes


def test_what_the_page_shows_is_there(tmp_path):
  """Every file of its tree, and nothing wrong in any."""
  campus.write(tmp_path, count=2)
  tree = campus.PAGE.read_text().split('```text\n')[1].split('```')[0]
  kinds = {}
  for line in tree.splitlines()[1:]:
    name = line.split()[0]
    kinds.setdefault(str(tmp_path / 'campus' / name), None)
  for path in kinds:
    folder = os.path.dirname(path)
    assert os.path.isdir(folder), path
    suffix = os.path.splitext(path)[1]
    assert any(name.endswith(suffix) for name in os.listdir(folder)), path
  for name in ('simulator', 'robot'):
    report = tmp_path / f'{name}.json'
    spec = str(tmp_path / f'campus/{name}.toml')
    assert verify.main(['verify', spec, f'--json={report}']) == 0
    assert not json.loads(report.read_text())['reports'][0]['warnings']
  assert tiny.ROOT in campus.PAGE.parents
