"""A run's folder: config, lock, log of metrics."""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from jaxuda.training import workdir as workdir_lib
from jaxuda.utils.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = {
  'seed': 0,
  'optim': {'lr': 1e-3, 'betas': (0.9, 0.99)},
  'log': {'n': 1},
}


def start_child(code, *args):
  return subprocess.Popen(
    [sys.executable, '-c', textwrap.dedent(code), *map(str, args)],
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_first_start_then_resume(tmp_path):
  path = tmp_path / 'runs' / 'a'
  with workdir_lib.open_workdir(path, CONFIG) as resumed:
    assert not resumed
  stored = json.loads((path / 'config.json').read_text())
  assert stored['optim'] == {'lr': 1e-3, 'betas': [0.9, 0.99]}
  with workdir_lib.open_workdir(path, CONFIG) as resumed:
    assert resumed


def test_other_config_is_refused_with_the_difference(tmp_path):
  with workdir_lib.open_workdir(tmp_path, CONFIG):
    pass
  before = (tmp_path / 'config.json').read_text()
  other = {'optim': {'lr': 0.1, 'betas': (0.9, 0.99), 'nesterov': True}}
  with (
    pytest.raises(UserError) as e,
    workdir_lib.open_workdir(tmp_path, other | {'log': {'n': 1}}),
  ):
    pass
  assert str(e.value).splitlines() == [
    f'{tmp_path} holds a run of another config (stored -> given):',
    '  seed: 0 -> absent',
    '  optim.lr: 0.001 -> 0.1',
    '  optim.nesterov: absent -> true',
    'give another --workdir, or the stored values',
  ]
  assert (tmp_path / 'config.json').read_text() == before


def test_a_config_is_compared_without_a_trace(tmp_path):
  path = tmp_path / 'run'
  assert not workdir_lib.check_config(path, CONFIG) and not path.exists()
  with workdir_lib.open_workdir(path, CONFIG):
    pass
  before = {p: p.stat().st_mtime_ns for p in path.iterdir()}
  assert workdir_lib.check_config(path, CONFIG | {'log': {'n': 7}}, ['log.n'])
  with pytest.raises(UserError, match='seed: 0 -> 1'):
    workdir_lib.check_config(path, CONFIG | {'seed': 1})
  assert {p: p.stat().st_mtime_ns for p in path.iterdir()} == before


@pytest.mark.parametrize('harmless', ['log', 'log.n'])
def test_harmless_keys_may_change_and_are_stored(tmp_path, harmless):
  with workdir_lib.open_workdir(tmp_path, CONFIG):
    pass
  other = CONFIG | {'log': {'n': 7}}
  with pytest.raises(UserError, match=r'log\.n: 1 -> 7'):
    workdir_lib.open_workdir(tmp_path, other, ('lo', 'log.nn')).__enter__()
  with workdir_lib.open_workdir(tmp_path, other, (harmless,)) as resumed:
    assert resumed
  assert json.loads((tmp_path / 'config.json').read_text())['log']['n'] == 7


def test_unwritable_workdir(tmp_path):
  # Below a file: root may write where the permissions say no.
  (tmp_path / 'file').write_text('x')
  for path in (tmp_path / 'file', tmp_path / 'file' / 'run', '/proc/run'):
    with (
      pytest.raises(UserError, match=f'cannot write to the workdir {path} '),
      workdir_lib.open_workdir(path, CONFIG),
    ):
      pass


def test_damaged_or_missing_config(tmp_path):
  for content in ('{"seed": 0', '[1]', ''):
    (tmp_path / 'config.json').write_text(content)
    with pytest.raises(UserError, match=r'config\.json is damaged'):
      workdir_lib.open_workdir(tmp_path, CONFIG).__enter__()
  (tmp_path / 'config.json').unlink()
  (tmp_path / 'checkpoints' / '3').mkdir(parents=True)
  with pytest.raises(UserError, match='checkpoints but no config'):
    workdir_lib.open_workdir(tmp_path, CONFIG).__enter__()
  assert not (tmp_path / 'config.json').exists()


def test_one_process_at_a_time_and_no_stale_lock(tmp_path):
  child = start_child(
    """
    import sys, time
    from jaxuda import workdir
    with workdir_lib.open_workdir(sys.argv[1], {}):
      print('in', flush=True)
      time.sleep(60)
    """,
    tmp_path,
  )
  assert child.stdout.readline() == 'in\n', child.stderr.read()
  with pytest.raises(UserError, match=f'in use by process {child.pid} on '):
    workdir_lib.open_workdir(tmp_path, {}).__enter__()
  child.send_signal(signal.SIGKILL)
  child.communicate()
  with workdir_lib.open_workdir(tmp_path, {}) as resumed:
    assert resumed
    with pytest.raises(UserError, match=f'process {os.getpid()} on'):
      workdir_lib.open_workdir(tmp_path, {}).__enter__()
  with workdir_lib.open_workdir(tmp_path, {}):
    pass


def test_rows_read_back_exactly(tmp_path):
  log = workdir_lib.MetricsCsv(tmp_path / 'metrics.csv')
  assert workdir_lib.read_metrics(log.path) == []
  log.append(1, {'loss': np.float32(0.1), 'a,"b': 1 / 3})
  log.append(2, {'loss': float('inf'), 'a,"b': None})
  log.append(2, {'eval_mIoU': 0.5, 'loss': 1})  # a new column, later
  log.append(3, {'loss': 2.0})
  assert workdir_lib.read_metrics(log.path) == [
    {'step': 1, 'loss': 0.10000000149011612, 'a,"b': 1 / 3},
    {'step': 2, 'loss': float('inf')},
    {'step': 2, 'loss': 1.0, 'eval_mIoU': 0.5},
    {'step': 3, 'loss': 2.0},
  ]
  lines = log.path.read_text().splitlines()
  assert lines[0] == 'step,loss,"a,""b",eval_mIoU'
  assert lines[-1] == '3,2.0,,'


def test_nan_is_logged(tmp_path):
  log = workdir_lib.MetricsCsv(tmp_path / 'm.csv')
  log.append(1, {'iou': float('nan')})
  assert np.isnan(workdir_lib.read_metrics(log.path)[0]['iou'])


@pytest.mark.parametrize('cut', [1, 4, 6, 8])
def test_interrupted_log_equals_uninterrupted(tmp_path, cut):
  """Killed while a row is written; resumed from the checkpoint of step 3."""

  def log_steps(log, first, last):
    for step in range(first, last + 1):
      log.append(step, {'loss': 1 / step})
      if step % 2 == 0:
        log.append(step, {'miou': step / 10})

  whole = workdir_lib.MetricsCsv(tmp_path / 'whole.csv')
  log_steps(whole, 1, 6)
  path = tmp_path / 'cut.csv'
  log_steps(workdir_lib.MetricsCsv(path), 1, 5)
  path.write_bytes(path.read_bytes()[:-cut])
  log = workdir_lib.MetricsCsv(path)
  log.truncate(3)
  assert [r['step'] for r in workdir_lib.read_metrics(path)] == [1, 2, 2, 3]
  log_steps(log, 4, 6)
  assert path.read_bytes() == whole.path.read_bytes()


def test_half_written_header_and_torn_rows(tmp_path, caplog):
  path = tmp_path / 'm.csv'
  path.write_text('step,lo')
  log = workdir_lib.MetricsCsv(path)
  log.append(1, {'loss': 0.5})
  assert path.read_text() == 'step,loss\n1,0.5\n'
  path.write_text('step,loss\n1,0.5\n2,\0\0\n3\n4,0.1')
  assert workdir_lib.read_metrics(path) == [{'step': 1, 'loss': 0.5}]
  workdir_lib.MetricsCsv(path).append(2, {'loss': 0.25})
  assert path.read_text() == 'step,loss\n1,0.5\n2,0.25\n'
  assert 'dropped 3 half-written line' in caplog.text


def test_truncate_to_nothing(tmp_path):
  log = workdir_lib.MetricsCsv(tmp_path / 'm.csv')
  log.truncate(5)
  assert not log.path.exists()
  log.append(0, {'a': 1.0})
  log.truncate(-1)
  log.append(0, {'a': 2.0})
  assert workdir_lib.read_metrics(log.path) == [{'step': 0, 'a': 2.0}]


def test_foreign_file_is_left_alone(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text('name,value\nx,1\n')
  with pytest.raises(UserError, match='is no log of metrics'):
    workdir_lib.MetricsCsv(path).truncate(0)
  assert path.read_text() == 'name,value\nx,1\n'


def test_full_disk_loses_no_row(tmp_path, caplog):
  """A limit on the size of a file stands in for the full disk."""
  log = workdir_lib.MetricsCsv(tmp_path / 'm.csv')
  log.append(1, {'loss': 1.0})
  limit = resource.getrlimit(resource.RLIMIT_FSIZE)
  before = log.path.read_bytes()
  resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, limit[1]))
  try:
    log.append(2, {'loss': 2.0})
    assert log.path.read_bytes() == before
    log.append(3, {'loss': 3.0, 'miou': 0.5})
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
  assert log.path.read_bytes() == before
  assert '2 row(s) wait' in caplog.text
  log.close()
  assert [r['loss'] for r in workdir_lib.read_metrics(log.path)] == [1, 2, 3]
  assert sorted(p.name for p in tmp_path.iterdir()) == ['m.csv']


def test_kill_leaves_a_readable_log(tmp_path):
  path = tmp_path / 'm.csv'
  child = start_child(
    """
    import sys
    from jaxuda import workdir
    log = workdir_lib.MetricsCsv(sys.argv[1])
    for step in range(10**6):
      log.append(step, {'loss': 1 / (1 + step)})
      if step == 200: print('on', flush=True)
    """,
    path,
  )
  assert child.stdout.readline() == 'on\n'
  time.sleep(0.1)
  child.send_signal(signal.SIGKILL)
  child.communicate()
  log = workdir_lib.MetricsCsv(path)
  log.truncate(150)
  steps = [row['step'] for row in workdir_lib.read_metrics(path)]
  assert steps == list(range(151))
