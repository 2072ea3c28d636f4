"""A preparation that is stopped from outside leaves nothing half-done."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import raw_files

from jaxuda.datasets import prepare, specs
from jaxuda.utils import lock, signals

pytestmark = pytest.mark.slow

LIMITED = """
import resource, sys
import jaxuda.datasets.prepare  # before the limit, which cuts byte code, too
from data import prepare
from jaxuda.utils.cli import run_cli
if __name__ == '__main__':
  resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
  run_cli(prepare.main, sys.argv)
"""


def test_a_write_that_fails_leaves_nothing(tmp_path):
  raw_files.write('camvid', tmp_path / 'raw', count=8)
  command = [sys.executable, '-c', LIMITED, 'camvid', '--allow_missing']
  command += [f'--raw={tmp_path / "raw"}', f'--data_dir={tmp_path / "out"}']
  done = subprocess.run(command, capture_output=True, text=True, timeout=60)
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith('error: ') and 'cannot write' in done.stderr
  assert 'Traceback' not in done.stderr
  assert not (tmp_path / 'out').exists()


def test_a_killed_preparation_is_cleaned_up_by_the_next(tmp_path):
  folder = specs.prepared_dir('gta5', (24, 40), tmp_path / 'out')
  stale = folder.parent / f'incomplete.ABC123_{folder.name}'
  stale.mkdir(parents=True)
  (stale / 'gta5-train.array_record').write_bytes(b'half')
  (folder.parents[1] / '.24x40.lock').touch()
  raw_files.write('gta5', tmp_path / 'raw')
  prepare.prepare(
    'gta5',
    size=(24, 40),
    raw=tmp_path / 'raw',
    data_dir=tmp_path / 'out',
    allow_missing=True,
  )
  assert sorted(p.name for p in folder.parents[1].rglob('*')) == sorted(
    ['24x40', '1.0.0', *(p.name for p in folder.iterdir())]
  )


@pytest.mark.parametrize(
  ('stop', 'code'),
  [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
)
def test_an_interrupted_preparation_leaves_nothing(tmp_path, stop, code):
  raw_files.write('camvid', tmp_path / 'raw', count=40, size=(9, 16))
  command = [sys.executable, '-m', 'data.prepare', 'camvid', '--allow_missing']
  command += [f'--raw={tmp_path / "raw"}', f'--data_dir={tmp_path / "out"}']
  process = subprocess.Popen(
    [*command, '--size=1440x2560'],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,  # Ctrl-C reaches the whole terminal session
    # Under nohup this process, and what it starts, would ignore SIGHUP.
    preexec_fn=lambda: signal.signal(stop, signal.SIG_DFL),
  )
  deadline = time.monotonic() + 60
  while not list(tmp_path.glob('out/camvid/*/incomplete*')):
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.02)
  os.killpg(process.pid, stop)
  printed, _ = process.communicate(timeout=60)
  assert process.returncode == code, printed
  assert 'Traceback' not in printed
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('ignored', [False, True])
def test_nohup_is_respected(ignored):
  before = signal.getsignal(signal.SIGHUP)
  signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
  try:
    with contextlib.suppress(SystemExit), signals.Unwinding():
      signal.raise_signal(signal.SIGHUP)
      assert ignored
    expected = signal.SIG_IGN if ignored else signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) == expected
  finally:
    signal.signal(signal.SIGHUP, before)


class _Leaving:
  def __del__(self):
    signal.raise_signal(signal.SIGINT)


def _raise_in_a_destructor():
  _Leaving()


def _raise_in_the_collector():
  def callback(phase, info):
    # Once: a second signal, a slow collection later, would end the process.
    if phase == 'start':
      gc.callbacks.remove(callback)
      signal.raise_signal(signal.SIGINT)

  gc.callbacks.append(callback)
  gc.collect()


@pytest.mark.parametrize(
  'raise_signal', [_raise_in_a_destructor, _raise_in_the_collector]
)
def test_a_signal_that_python_would_drop_comes_again(raise_signal, capfd):
  began, hook = time.monotonic(), sys.unraisablehook
  with pytest.raises(KeyboardInterrupt), signals.Unwinding():
    raise_signal()
    time.sleep(20)
  assert time.monotonic() - began < 10
  assert 'ignored' not in capfd.readouterr().err
  assert sys.unraisablehook is hook


def test_a_signal_that_was_checked_for_does_not_come_again():
  """The check raises what was dropped, and nothing cuts the cleaning up."""
  cleaned = False
  with pytest.raises(KeyboardInterrupt), signals.Unwinding() as stop:
    try:
      _raise_in_a_destructor()
      stop.check()
    finally:
      time.sleep(0.3)
      cleaned = True
  assert cleaned


def test_only_one_process_prepares_at_a_time(tmp_path):
  path = tmp_path / 'folder' / '.lock'
  inside, most, waited = 0, 0, []

  def hold():
    nonlocal inside, most
    for _ in range(20):
      with lock.hold(path, lambda: waited.append(1)):
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        inside -= 1

  # Locks belong to an open file: threads exclude each other as processes do.
  threads = [threading.Thread(target=hold) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(20)
  assert most == 1 and waited
  assert not path.exists()
