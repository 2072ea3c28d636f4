"""A run that is stuck ends with a sentence, its stacks and a status."""

import os
import re
import signal
import time

import pytest
import tiny_runs
from small_state import run_child

WATCHED = """
import pathlib, sys, time
from jaxuda.training import watchdog
with watchdog.Watchdog(pathlib.Path(sys.argv[1]), 2.0) as dog:
  for step in range(4):
    dog.at('waiting for data', step)
    time.sleep(0.3)
  for item in dog.each([0.3] * 12):
    time.sleep(item)
  dog.at('compiling', 7)
  time.sleep(5)
  print('on', flush=True)
  dog.at('waiting for data', 8)
  def a_hung_read():
    time.sleep(10**6)
  a_hung_read()
"""


def stuck(child, folder, seconds):
  """Wait until a child is stuck; return what it says."""
  began = time.monotonic()
  out, said = child.communicate(timeout=60)
  assert child.returncode == 75, out + said
  assert time.monotonic() - began < seconds
  stacks = (folder / 'stuck-0.txt').read_text()
  assert 'a_hung_read' in stacks and 'most recent call first' in stacks
  return said


def test_a_hung_read(tmp_path):
  """It is told after the limit, and no sooner: what goes on is no hang."""
  child = run_child(WATCHED, tmp_path)
  assert child.stdout.readline() == 'on\n'
  said = stuck(child, tmp_path, 20)
  assert re.fullmatch(
    r'error: process 0 is stuck: waiting for data at step 8 for \d+ s '
    rf'\(config\.stuck_after\)\. .* {tmp_path}/stuck-0\.txt\. Start again .*\n',
    said,
  )
  assert 'another process' not in said


def test_a_process_that_is_stopped_is_not_stuck(tmp_path):
  """Ctrl-Z for longer than the limit, before it is stuck indeed."""
  child = run_child(WATCHED.replace('time.sleep(5)', 'time.sleep(1)'), tmp_path)
  assert child.stdout.readline() == 'on\n'
  child.send_signal(signal.SIGSTOP)
  time.sleep(6)
  os.kill(child.pid, signal.SIGCONT)
  time.sleep(0.5)
  assert child.poll() is None
  stuck(child, tmp_path, 20)


def test_never(tmp_path):
  child = run_child(
    WATCHED.replace('2.0', 'None').replace('10**6', '5'), tmp_path
  )
  assert child.communicate(timeout=60)[0] == 'on\n' and child.returncode == 0
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_one_of_two_processes_is_stopped(streets_data, tmp_path):
  """The first, which the other joined; that ends with a sentence, no dump."""
  path, port = tmp_path / 'run', tiny_runs.free_port()
  arguments = tiny_runs.command(
    path,
    streets_data,
    'steps=2000',
    'log_every=1',
    'eval_every=2000',
    'checkpoint_every=5',
    'stuck_after=4.0',
  )
  children = [
    tiny_runs.start(*arguments, *tiny_runs.joined(rank, port))
    for rank in (0, 1)
  ]
  tiny_runs.wait_for(children[0], r'^step +20/')
  stopped, other = 0, 1
  children[stopped].send_signal(signal.SIGSTOP)
  _, said = children[other].communicate(timeout=100)
  children[stopped].kill()
  children[stopped].communicate()
  assert children[other].returncode == 75, said
  [line] = [x for x in said.splitlines() if x.startswith('error: ')]
  assert line.startswith(f'error: process {other} is stuck: ')
  assert 'Its disk or another process hangs; the stacks of' in line
  assert 'Fatal' not in said and 'Traceback' not in said
  assert (path / f'stuck-{other}.txt').stat().st_size > 100
  assert int(tiny_runs.state(path)['step']) >= 15
