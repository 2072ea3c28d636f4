"""One process holds a lock; the others refuse, or wait."""

import os
import signal
import threading

import pytest
from small_state import run_child

from jaxuda.utils import lock

HOLDER = """
import pathlib, sys, time
from jaxuda.utils import lock
with lock.hold(pathlib.Path(sys.argv[1])):
  print('in', flush=True)
  time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'new' / '.lock'


def test_the_holder_is_named_and_the_file_removed(path):
  with lock.hold(path):
    with pytest.raises(lock.HeldError, match=f'^{os.getpid()} on '):
      lock.hold(path).__enter__()
    assert path.exists()
  assert not path.exists()
  with pytest.raises(ZeroDivisionError), lock.hold(path):
    _ = 1 / 0
  assert not path.exists()


def test_a_killed_process_holds_nothing(path):
  child = run_child(HOLDER, path)
  assert child.stdout.readline() == 'in\n', child.stderr.read()
  with pytest.raises(lock.HeldError, match=f'^{child.pid} on '):
    lock.hold(path).__enter__()
  child.send_signal(signal.SIGKILL)
  child.communicate()
  assert path.exists()
  with lock.hold(path):
    pass


def test_many_wait_for_one_another(path):
  """Although each holder removes the file that the others have open."""
  inside, most, waited, done = [], [], [], []

  def work():
    with lock.hold(path, lambda: waited.append(1)):
      inside.append(1)
      most.append(len(inside))
      pause.wait(0.01)
      inside.pop()
    done.append(1)

  pause = threading.Event()
  threads = [threading.Thread(target=work) for _ in range(8)]
  with lock.hold(path):
    for thread in threads:
      thread.start()
    while len(waited) < len(threads):
      pause.wait(0.01)
    assert not inside
  for thread in threads:
    thread.join(60)
  assert len(done) == 8 and set(most) == {1}
  assert not path.exists()
