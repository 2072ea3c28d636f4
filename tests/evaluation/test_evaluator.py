"""Scoring a run by the command line: its segmenter, or its teacher."""

import json
import pathlib

import jax
import numpy as np
import pytest
import run_folders
import tiny
import tiny_runs

from jaxuda import checkpoints, evaluate, experiment, state
from jaxuda import config as config_lib
from jaxuda.utils import cli

pytestmark = pytest.mark.slow


def write_run(
  workdir: pathlib.Path, name: str, data_dir: pathlib.Path, **seeds: int
) -> None:
  """Write a run at step 3, each network of weights drawn by a seed."""
  spec = f'configs/{name}.py:streets,encoder=resnet'
  settings = [
    *tiny_runs.small(spec),
    f'data_dir={data_dir}',
    'num_log_images=1',
  ]
  config = config_lib.load(spec, settings)
  workdir.mkdir()
  content = json.dumps(config_lib.to_json(config))
  (workdir / 'config.json').write_text(content)
  shapes = state.abstract(*experiment.build(config))
  current = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  for network, seed in seeds.items():
    one = getattr(current, network)
    drawn = tiny.drawn({'params': one.params, 'stats': one.batch_stats}, seed)
    one = one.replace(params=drawn['params'], batch_stats=drawn['stats'])
    current = current.replace(**{network: one})
  with checkpoints.Checkpoints(workdir / 'checkpoints') as manager:
    manager.save(3, current)


@pytest.fixture(scope='module')
def runs(streets_data, tmp_path_factory):
  """A teacher's run, and one whose only network is that teacher."""
  folder = tmp_path_factory.mktemp('runs')
  write_run(folder / 'both', 'mean_teacher', streets_data, segmenter=0, ema=1)
  write_run(folder / 'alone', 'source_only', streets_data, segmenter=1)
  return folder


def scored(workdir, name, *flags):
  """The scores.json that the command writes into an evaluation's folder."""
  assert evaluate.main(['evaluate', f'--workdir={workdir}', *flags]) == 0
  folder = workdir / 'evaluation' / name
  assert len(list(folder.glob('*.png'))) == 3
  return run_folders.read(folder / 'scores.json')


def test_a_teacher_is_scored_by_its_own_weights(runs, capsys):
  student = scored(runs / 'both', 'val-3', '--network=segmenter')
  assert '  step 3 ' in capsys.readouterr().out
  # The config's own; both papers score the teacher.
  teacher = scored(runs / 'both', 'val-3-network=ema')
  assert '  step 3, ema ' in capsys.readouterr().out
  assert (student['network'], teacher['network']) == ('segmenter', 'ema')
  alone = scored(runs / 'alone', 'val-3')
  assert teacher == alone | {'network': 'ema'}
  # The student would be told from it.
  apart = np.abs(np.subtract(student['confusion'], teacher['confusion']))
  assert apart.sum() > 100
  # Neither is written over the other.
  assert (
    run_folders.read(runs / 'both' / 'evaluation' / 'val-3' / 'scores.json')
    == student
  )


def test_an_ensemble_of_teachers(runs, streets_data):
  """Each is a teacher; the same one twice is that one."""
  write_run(runs / 'other', 'mean_teacher', streets_data, segmenter=2, ema=1)
  name = 'val-3-with=other-3-mix=0.5,0.5-network=ema'
  both = f'{runs / "both"},{runs / "other"}'
  assert evaluate.main(['x', f'--workdir={both}', '--network=ema']) == 0
  path = runs / 'both' / 'evaluation' / name / 'scores.json'
  found = json.loads(path.read_text())
  alone = scored(runs / 'alone', 'val-3')
  assert found['confusion'] == alone['confusion']


def refused(capsys, *flags):
  """What the command prints when it refuses its arguments."""
  with pytest.raises(SystemExit) as caught:
    cli.run_cli(evaluate.main, ['evaluate', *map(str, flags)])
  assert caught.value.code == 2
  [line] = capsys.readouterr().err.splitlines()
  return line


def test_a_run_without_a_teacher(runs, finished_run, capsys):
  workdir = finished_run.workdir
  before = sorted(workdir.rglob('*'))
  assert refused(capsys, f'--workdir={workdir}', '--network=ema') == (
    f'error: --network=ema: {workdir} is a run of advent_patch, which has no '
    'teacher.'
  )
  # Nor is it a member of an ensemble of teachers.
  both = f'{runs / "both"},{workdir}'
  line = refused(capsys, f'--workdir={both}', '--network=ema')
  assert line.startswith(f'error: --network=ema: {workdir} is a run of')
  assert sorted(workdir.rglob('*')) == before


@pytest.mark.parametrize('flag', ['--network=ema', '--checkpoint=best'])
def test_a_pytorch_file_has_one_network(flag, tmp_path, capsys):
  config = 'configs/source_only.py:streets'
  given = (f'--weights={tmp_path}/a.pth', f'--config={config}', flag)
  assert refused(capsys, *given).startswith('error: usage: python -m jaxuda')
