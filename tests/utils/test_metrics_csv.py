"""The log of metrics: rows are appended whole, and none is lost or repeated."""

import resource
import signal
import time
import zlib

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
  assert lines[0] == 'step,loss,"a,""b",eval_mIoU,crc32'
  assert lines[-1].startswith('3,2.0,,,')


def test_checksums_by_hand(tmp_path):
  """Each is of the one before, the header and the row, by zlib."""
  log = metrics_csv.MetricsCsv(tmp_path / 'm.csv')
  log.append(1, {'a': 0.5})
  log.append(2, {'a': 0.25})
  first = f'{zlib.crc32(b"|step,a|1,0.5"):08x}'
  second = f'{zlib.crc32(f"{first}|step,a|2,0.25".encode()):08x}'
  assert log.path.read_text() == (
    f'step,a,crc32\n1,0.5,{first}\n2,0.25,{second}\n'
  )


def test_no_change_is_taken_for_a_row(tmp_path, caplog):
  """Each bit, and each line taken out or twice there; the tail may be torn."""
  log = metrics_csv.MetricsCsv(tmp_path / 'whole.csv')
  for step in range(1, 5):
    log.append(step, {'loss': 1 / step})
  whole, rows = log.path.read_bytes(), metrics_csv.read_metrics(log.path)
  lines = whole.splitlines(keepends=True)
  changed = [
    whole[:i] + bytes([whole[i] ^ 1 << bit]) + whole[i + 1 :]
    for i in range(len(whole))
    for bit in range(8)
  ]
  changed += [b''.join(lines[:i] + lines[i + 1 :]) for i in range(4)]
  changed += [b''.join(lines[: i + 1] + lines[i:]) for i in range(5)]
  path = tmp_path / 'changed.csv'
  for content in changed:
    path.write_bytes(content)
    try:
      found = metrics_csv.read_metrics(path)
    except UserError:
      continue
    # The end of the last line is what a kill may have left out.
    assert found == rows[:3] and content[-1:] != b'\n'
  path.write_bytes(whole.replace(b'\n2,', b'\n7,'))
  with pytest.raises(UserError, match='line 3 is not what was written'):
    metrics_csv.read_metrics(path)
  metrics_csv.MetricsCsv(path).truncate(9)
  assert [row['step'] for row in metrics_csv.read_metrics(path)] == [1, 3, 4]
  assert (tmp_path / 'damaged-changed.csv').read_bytes().count(b'\n7,') == 1
  assert '1 damaged row(s), of which line 3 is the first' in caplog.text


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
  log.append(2, {'loss': 0.25})
  whole = path.read_text()
  assert whole.startswith('step,loss,crc32\n1,0.5,')
  path.write_text(whole[:-5])
  assert metrics_csv.read_metrics(path) == [{'step': 1, 'loss': 0.5}]
  metrics_csv.MetricsCsv(path).append(2, {'loss': 0.25})
  assert path.read_text() == whole
  assert 'dropped a half-written line' in caplog.text


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
  with pytest.raises(UserError, match='or no metrics log'):
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
  assert '2 row(s) unwritten' in caplog.text and log.waiting == 2
  log.close()
  assert log.waiting == 0
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
