"""The log of metrics: rows are appended whole, and none is lost or repeated."""

import resource
import signal
import time

import numpy as np
import pytest
from small_state import run_child

from jaxuda.utils import metrics_csv
from jaxuda.utils.errors import UserError


def test_rows_read_back_exactly(tmp_path):
  log = metrics_csv.MetricsCsv(tmp_path / 'metrics.csv')
  assert metrics_csv.read_metrics(log.path) == []
  log.append(1, {'loss': np.float32(0.1), 'a,"b': 1 / 3})
  log.append(2, {'loss': float('inf'), 'a,"b': None})
  log.append(2, {'eval_mIoU': 0.5, 'loss': 1})  # a new column, later
  log.append(3, {'loss': 2.0})
  assert metrics_csv.read_metrics(log.path) == [
    {'step': 1, 'loss': 0.10000000149011612, 'a,"b': 1 / 3},
    {'step': 2, 'loss': float('inf')},
    {'step': 2, 'loss': 1.0, 'eval_mIoU': 0.5},
    {'step': 3, 'loss': 2.0},
  ]
  lines = log.path.read_text().splitlines()
  assert lines[0] == 'step,loss,"a,""b",eval_mIoU'
  assert lines[-1] == '3,2.0,,'


def test_nan_is_logged(tmp_path):
  log = metrics_csv.MetricsCsv(tmp_path / 'm.csv')
  log.append(1, {'iou': float('nan')})
  assert np.isnan(metrics_csv.read_metrics(log.path)[0]['iou'])


@pytest.mark.parametrize('cut', [1, 4, 6, 8])
def test_interrupted_log_equals_uninterrupted(tmp_path, cut):
  """Killed while a row is written; resumed from the checkpoint of step 3."""

  def log_steps(log, first, last):
    for step in range(first, last + 1):
      log.append(step, {'loss': 1 / step})
      if step % 2 == 0:
        log.append(step, {'miou': step / 10})

  whole = metrics_csv.MetricsCsv(tmp_path / 'whole.csv')
  log_steps(whole, 1, 6)
  path = tmp_path / 'cut.csv'
  log_steps(metrics_csv.MetricsCsv(path), 1, 5)
  path.write_bytes(path.read_bytes()[:-cut])
  log = metrics_csv.MetricsCsv(path)
  log.truncate(3)
  assert [r['step'] for r in metrics_csv.read_metrics(path)] == [1, 2, 2, 3]
  log_steps(log, 4, 6)
  assert path.read_bytes() == whole.path.read_bytes()


def test_half_written_header_and_torn_rows(tmp_path, caplog):
  path = tmp_path / 'm.csv'
  path.write_text('step,lo')
  log = metrics_csv.MetricsCsv(path)
  log.append(1, {'loss': 0.5})
  assert path.read_text() == 'step,loss\n1,0.5\n'
  path.write_text('step,loss\n1,0.5\n2,\0\0\n3\n4,0.1')
  assert metrics_csv.read_metrics(path) == [{'step': 1, 'loss': 0.5}]
  metrics_csv.MetricsCsv(path).append(2, {'loss': 0.25})
  assert path.read_text() == 'step,loss\n1,0.5\n2,0.25\n'
  assert 'dropped 3 half-written line' in caplog.text


def test_truncate_to_nothing(tmp_path):
  log = metrics_csv.MetricsCsv(tmp_path / 'm.csv')
  log.truncate(5)
  assert not log.path.exists()
  log.append(0, {'a': 1.0})
  log.truncate(-1)
  log.append(0, {'a': 2.0})
  assert metrics_csv.read_metrics(log.path) == [{'step': 0, 'a': 2.0}]


def test_foreign_file_is_left_alone(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text('name,value\nx,1\n')
  with pytest.raises(UserError, match='is not a metrics log'):
    metrics_csv.MetricsCsv(path).truncate(0)
  assert path.read_text() == 'name,value\nx,1\n'


def test_full_disk_loses_no_row(tmp_path, caplog):
  """A limit on the size of a file stands in for the full disk."""
  log = metrics_csv.MetricsCsv(tmp_path / 'm.csv')
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
  assert '2 row(s) unwritten' in caplog.text
  log.close()
  assert [r['loss'] for r in metrics_csv.read_metrics(log.path)] == [1, 2, 3]
  assert sorted(p.name for p in tmp_path.iterdir()) == ['m.csv']


@pytest.mark.slow
def test_kill_leaves_a_readable_log(tmp_path):
  path = tmp_path / 'm.csv'
  child = run_child(
    """
    import sys
    from jaxuda.utils import metrics_csv
    log = metrics_csv.MetricsCsv(sys.argv[1])
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
  log = metrics_csv.MetricsCsv(path)
  log.truncate(150)
  steps = [row['step'] for row in metrics_csv.read_metrics(path)]
  assert steps == list(range(151))
