"""Interrupted and continued runs end as uninterrupted ones, bit for bit."""

import json
import operator
import re
import shutil
import signal
import time

import jax
import numpy as np
import pytest
import run_folders
import tiny
import tiny_runs
from small_state import equal

from jaxuda import experiment
from jaxuda.checkpoints import reader
from jaxuda.evaluation import evaluator
from jaxuda.utils import metrics_csv
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow

EVALUATIONS = (4, 8, 9)


def assert_same(workdir, finished, figures=False):
  """Compare all that a config determines: weights, log, scores, figures."""
  state, expected = tiny_runs.state(workdir), tiny_runs.state(finished)
  assert equal(state, expected)
  assert state['step'] == 9
  for name in ('metrics.csv', 'scores.json'):
    assert (workdir / name).read_bytes() == (finished / name).read_bytes()
  pictures = list((finished / 'figures').rglob('*.png'))
  kept = list((finished / 'unlabelled').iterdir())
  assert len(pictures) == 11 and len(kept) == len(EVALUATIONS)
  for theirs in (*pictures * figures, *kept):
    ours = workdir / theirs.relative_to(finished)
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_state_holds_all_that_evolves(finished_run):
  """So that what the other tests compare is all of it."""
  state = tiny_runs.state(finished_run.workdir)
  assert set(state) == {
    'step',
    'segmenter',
    'discriminators',
    'skipped',
    'skipped_in_row',
    'ema',
  }
  for network in ('segmenter', 'discriminators'):
    assert jax.tree.leaves(state[network]['params'])
    moments = [
      leaf
      for leaf in jax.tree.leaves(state[network]['opt_state'])
      if np.ndim(leaf)
    ]
    assert moments and all(np.any(leaf) for leaf in moments)
  mean = state['segmenter']['batch_stats']['encoder']['bn1']['mean']
  assert np.any(mean)
  assert state['ema'] is None  # another run below has one


def stop_and_continue(arguments, workdir, *stops):
  for stop in stops:
    with tiny_runs.signalled_at(stop):
      assert tiny_runs.run(*arguments) == 143
    assert tiny_runs.state(workdir)['step'] == stop
    assert not (workdir / 'scores.json').exists()
  assert tiny_runs.run(*arguments) == 0


def test_stopped_and_continued(finished_run, streets_data, tmp_path):
  workdir, finished = tmp_path / 'run', finished_run.workdir
  arguments = tiny_runs.command(workdir, streets_data, 'num_log_images=2')
  stop_and_continue(arguments, workdir, 4, 7)
  assert_same(workdir, finished, figures=True)
  configs = [(d / 'config.json').read_bytes() for d in (workdir, finished)]
  assert operator.eq(*configs)


def test_stopped_and_continued_without_labels(streets_data, tmp_path):
  """Stopped where it has been measured, which is not logged twice."""
  straight, stopped = (
    tiny_runs.command(
      tmp_path / name, streets_data, 'steps=5', 'eval.name=None'
    )
    for name in ('straight', 'stopped')
  )
  assert tiny_runs.run(*straight) == 0
  stop_and_continue(stopped, tmp_path / 'stopped', 4)
  log = (tmp_path / 'straight' / 'metrics.csv').read_text()
  assert log.count('\n4,') == 2  # a line of training, and a measurement
  assert (tmp_path / 'stopped' / 'metrics.csv').read_text() == log


def test_stopped_and_continued_with_a_teacher(
  finished_run, streets_data, tmp_path, capsys
):
  """And with draws by class, and the encoder as it was before training."""
  straight, stopped = (
    tiny_runs.command(
      tmp_path / name,
      streets_data,
      'steps=5',
      f'init={finished_run.workdir}',
      'source.rare_class.pixels=4',
      config='configs/daformer.py:streets,encoder=resnet',
    )
    for name in ('straight', 'stopped')
  )
  assert tiny_runs.run(*straight) == 0
  stop_and_continue(stopped, tmp_path / 'stopped', 3)
  found, expected = (
    tiny_runs.state(tmp_path / name) for name in ('stopped', 'straight')
  )
  assert equal(found, expected)
  log = (tmp_path / 'straight' / 'metrics.csv').read_text()
  assert (tmp_path / 'stopped' / 'metrics.csv').read_text() == log
  columns = log.splitlines()[0].split(',')
  at = columns.index('loss/feature_distance')
  far = [row.split(',')[at] for row in log.splitlines()[1:]]
  assert any(float(value) > 0 for value in far if value)
  teacher, student = found['ema'], found['segmenter']
  assert teacher.keys() == student.keys()
  for part in ('params', 'batch_stats'):
    shapes = (jax.tree.map(np.shape, each[part]) for each in (teacher, student))
    assert operator.eq(*shapes)
    assert not tiny.same(teacher[part], student[part])  # it lags behind
  run = experiment.load(tmp_path / 'stopped')  # the network that is scored
  assert run.step == 5 and tiny.same(run.params, teacher['params'])
  assert tiny.same(run.batch_stats, teacher['batch_stats'])
  assert_training_scored(run, tmp_path / 'stopped')
  assert "(last checkpoint's teacher, 3 images)" in capsys.readouterr().out


def assert_training_scored(run, workdir):
  trained = json.loads((workdir / 'scores.json').read_text())
  scores = evaluator.evaluate_run(run, workdir)
  np.testing.assert_array_equal(scores.counts, trained['confusion'])


def test_terminated_and_killed(finished_run, streets_data, tmp_path):
  """SIGTERM, then SIGKILL, each at some moment behind a line."""
  workdir = tmp_path / 'run'
  arguments = tiny_runs.command(workdir, streets_data)
  rng = np.random.default_rng()

  child = tiny_runs.start(*arguments)
  tiny_runs.wait_for(child, r'^step +2/9')
  child.send_signal(signal.SIGTERM)
  said, complaints = child.communicate(timeout=300)
  assert child.returncode == 143, complaints
  assert 'SIGTERM: saving at the next step, then stopping' in complaints
  assert 'Traceback' not in complaints
  [step] = re.findall(r'stopped by a signal at step (\d+); start again', said)
  assert 2 <= int(step) < 9
  assert tiny_runs.state(workdir)['step'] == int(step)

  child = tiny_runs.start(*arguments)
  tiny_runs.wait_for(child, r'^continuing at step')
  tiny_runs.wait_for(child, r'^step +6/9')
  time.sleep(rng.uniform(0, 0.3))
  child.kill()
  child.communicate()
  assert child.returncode == -signal.SIGKILL

  assert tiny_runs.run(*arguments) == 0
  assert_same(workdir, finished_run.workdir)


@pytest.mark.parametrize(('step', 'then'), [(4, (5,)), (9, ())])
def test_stopped_in_an_evaluation(
  step, then, finished_run, streets_data, tmp_path
):
  """The score is in the checkpoint afterwards: it may be the best one."""
  workdir = tmp_path / 'run'
  arguments = tiny_runs.command(workdir, streets_data)

  def score():
    folder = workdir / 'checkpoints'
    return reader.metric_of_each_step(folder, 'miou')[step]

  with tiny_runs.signalled_in_evaluation(EVALUATIONS.index(step)):
    assert tiny_runs.run(*arguments) == 143
  assert tiny_runs.state(workdir)['step'] == step and score() is None
  with tiny_runs.signalled_at(*then):
    assert tiny_runs.run(*arguments) == (143 if then else 0)
  rows = metrics_csv.read_metrics(finished_run.workdir / 'metrics.csv')
  expected = {r['step']: r['eval/mIoU'] for r in rows if 'eval/mIoU' in r}
  assert score() == expected[step]
  if then:
    assert tiny_runs.run(*arguments) == 0
  assert_same(workdir, finished_run.workdir)
  kept, uninterrupted = (
    reader.metric_of_each_step(folder / 'checkpoints', 'miou')
    for folder in (workdir, finished_run.workdir)
  )
  assert kept == uninterrupted


def test_a_stop_on_a_full_disk(
  finished_run, streets_data, tmp_path, capsys, caplog
):
  """What was not saved is said, and where the run goes on from."""
  workdir = tmp_path / 'run'
  arguments = tiny_runs.command(workdir, streets_data)
  with tiny_runs.signalled_at(7), tiny_runs.full_disk_from(7):
    assert tiny_runs.run(*arguments) == 143
  *_, failed, last = capsys.readouterr().out.splitlines()
  assert failed.startswith('the checkpoint of step 7 was not written (')
  assert last == (
    'stopped by a signal at step 7; start again to continue from step 5.'
  )
  assert 'Traceback' not in caplog.text
  assert tiny_runs.run(*arguments) == 0
  assert_same(workdir, finished_run.workdir)


def test_a_finished_run_is_only_shown(finished_run, streets_data, capsys):
  def contents():
    files = finished_run.workdir.rglob('*')
    rewritten = ('.lock', 'config.json')
    return {p: p.stat().st_mtime_ns for p in files if p.name not in rewritten}

  before = contents()
  arguments = tiny_runs.command(finished_run.workdir, streets_data)
  assert tiny_runs.run(*arguments) == 0
  assert contents() == before
  said = capsys.readouterr().out
  assert not re.search('^step ', said, re.MULTILINE)
  # The table, the figures and the headline that the training ended with.
  assert finished_run.said.endswith(said) and 'figure: ' in said


def test_a_first_stage_is_trained_once(streets_data, tmp_path, capsys):
  workdir = tmp_path / 'main'
  settings = ('init_stage.steps=2', 'steps=4', 'num_log_images=1')
  arguments = tiny_runs.command(workdir, streets_data, *settings, stages=True)

  # Stopped in the first stage, before the second one is there.
  with tiny_runs.signalled_at(1):
    assert tiny_runs.run(*arguments) == 143
  [first] = tmp_path.iterdir()
  assert tiny_runs.state(first)['step'] == 1

  # Continued, and stopped in the second stage.
  with tiny_runs.signalled_at(3):
    assert tiny_runs.run(*arguments) == 143
  said = capsys.readouterr().out
  assert said.count('stage: ') == 2
  assert f'starting from {first}, step 2' in said
  trained = {p: p.stat().st_mtime_ns for p in first.rglob('*')}
  start, scores = (
    (folder / name).read_text()
    for folder, name in ((workdir, 'start_scores.json'), (first, 'scores.json'))
  )
  assert start == scores

  assert tiny_runs.run(*arguments) == 0
  said = capsys.readouterr().out
  assert 'stage: ' not in said and 'continuing at step 3' in said
  assert 'at its start, source_only-streets' in said
  assert {p: p.stat().st_mtime_ns for p in first.rglob('*')} == trained

  # One of other settings is not gone on from; how it was scored is no matter.
  other = tiny_runs.command(
    tmp_path / 'other', streets_data, *settings, stages=True
  )
  stored = run_folders.read(first / 'config.json')
  stored['eval']['missing_class_iou'] = 'zero'
  for flip in (False, True):
    stored['source']['flip'] = flip
    (first / 'config.json').write_text(json.dumps(stored))
    if not flip:
      with pytest.raises(UserError, match=r'source\.flip: false -> true'):
        tiny_runs.run(*other)
  with tiny_runs.signalled_at(1):
    assert tiny_runs.run(*other) == 143
  capsys.readouterr()

  # Neither a finished nor a continued run needs the first stage again.
  shutil.rmtree(first)
  assert tiny_runs.run(*arguments) == 0
  shown = capsys.readouterr().out
  assert said.endswith(shown) and 'at its start, source_only-' in shown
  shutil.rmtree(workdir / 'figures')
  (workdir / 'scores.json').unlink()
  assert tiny_runs.run(*arguments) == 0
  again = capsys.readouterr().out
  assert 'continuing at step 4' in again and 'stage: ' not in again
  assert f'the figures leave out what the run started from: {first}' in again
  assert again.splitlines()[-1] == said.splitlines()[-1]
  assert len(list((workdir / 'figures').glob('*.png'))) == 3
  assert not first.exists()


def test_what_is_compared_with_the_start_needs_one(streets_data, tmp_path):
  command = tiny_runs.command(
    tmp_path / 'run',
    streets_data,
    'source.rare_class.pixels=4',
    config='configs/daformer.py:streets,encoder=resnet',
  )
  with pytest.raises(UserError, match=r'config\.init is needed, also to go on'):
    tiny_runs.run(*command)
  assert not (tmp_path / 'run').exists()
