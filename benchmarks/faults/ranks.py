"""One of two processes of a run: killed, stopped, slow or asked to stop."""

import pathlib
import random
import signal
import socket
import time
from collections.abc import Iterator

from benchmarks.faults import process, subjects
from benchmarks.faults.subjects import Tried

PROMISE = (
  'the others end in bounded time with a sentence; all go on, to the bit'
)

METHOD = 'dacs'
_LIMIT_S = 10  # of the watchdog
_SETTINGS = ('steps=60', f'stuck_after={_LIMIT_S}.0')
_HARMS = ('killed', 'stopped', 'slow', 'asked to stop')


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Harm one of two processes at a random moment, then start both again.

  Args:
    place: a folder with data.
    rng: of the process, the harm and the moment.
    count: runs.
  """
  for _ in range(2):  # the first one compiles
    subjects.remove(place / 'straight')
    straight = _start(place, 'straight/run')
    ended = [child.end() for child in straight]
    subjects.refuse_failed(METHOD, *ended)
  expected = subjects.end_state(place / 'straight/run')
  for turn in range(count):
    subjects.remove(place / 'harmed')
    children = _start(place, 'harmed/run')
    harmed, harm = rng.randrange(2), _HARMS[turn % len(_HARMS)]
    time.sleep(rng.uniform(0, 1.1 * ended[0].seconds))
    what = f'process {harmed} {harm}'
    fault = _harm(children, harmed, harm)
    if not fault:
      again = [child.end() for child in _start(place, 'harmed/run')]
      workdir = place / 'harmed/run'
      ends = (subjects.fault_at_end(each, expected, workdir) for each in again)
      fault = next(filter(None, ends), '')
    seconds = time.monotonic() - children[0].began
    yield Tried(what, fault, harm, seconds)


def _start(place, workdir):
  """Start two processes of one run."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  words = subjects.training(METHOD, workdir, *_SETTINGS)
  there = (f'--coordinator=localhost:{port}', '--num_processes=2')
  return [
    process.Child(place, *words, *there, f'--process_id={rank}', NPROC='32')
    for rank in (0, 1)
  ]


def _harm(children, harmed, harm):
  """Harm one of two processes; return what is wrong with how both end."""
  child, other = children[harmed], children[1 - harmed]
  may = (0, 2, process.STUCK)
  if harm == 'killed':
    child.kill()
    child.end()
    return process.fault(other.end(timeout_s=8 * _LIMIT_S), may)
  if harm == 'stopped':
    child.signal(signal.SIGSTOP)
    ended = other.end(timeout_s=20 * _LIMIT_S)
    child.kill()
    child.end()
    return process.fault(ended, may)
  if harm == 'slow':
    child.signal(signal.SIGSTOP)
    time.sleep(_LIMIT_S / 2)
    child.signal(signal.SIGCONT)
    may = (0,)
  else:
    child.signal(signal.SIGTERM)
    may = (0, 143)
  return ''.join(process.fault(each.end(), may) for each in children)
