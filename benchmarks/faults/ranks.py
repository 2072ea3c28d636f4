"""One of two processes, or both: killed, stopped, slow, out of disk."""

import contextlib
import pathlib
import random
import signal
import socket
import time
from collections.abc import Iterator

from benchmarks.faults import full_disk, process, subjects
from benchmarks.faults.subjects import Tried
from jaxuda.utils import files

PROMISE = (
  'the others end in bounded time with a sentence; all go on, to the bit'
)

METHOD = 'dacs'
_LIMIT_S = 10  # of the watchdog
_SETTINGS = ('steps=60', f'stuck_after={_LIMIT_S}.0')
_HARMS = (
  'killed',
  'stopped',
  'slow',
  'asked to stop',
  'killed with the other',
  'out of disk',
)


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
    files.remove(place / 'straight')
    straight = _start(place, 'straight/run')
    ended = [child.end() for child in straight]
    subjects.refuse_failed(METHOD, *ended)
  expected = subjects.end_state(place / 'straight/run')
  for turn in range(count):
    harmed, harm = rng.randrange(2), _HARMS[turn % len(_HARMS)]
    at = rng.uniform(0, 1.1 * ended[0].seconds)
    began = time.monotonic()
    with _disk(place / 'harmed', is_small=harm == 'out of disk'):
      fault = _harm_at(place, harmed, harm, at)
      if not fault:
        again = [child.end() for child in _start(place, 'harmed/run')]
        workdir = place / 'harmed/run'
        ends = (subjects.fault_at_end(e, expected, workdir) for e in again)
        fault = next(filter(None, ends), '')
    what = f'process {harmed} {harm} after {at:.1f} s'
    yield Tried(what, fault, harm, time.monotonic() - began)


def _disk(folder, *, is_small):
  """Make an empty folder, on a disk of its own if that is to be small."""
  files.remove(folder)
  return full_disk.small_disk(folder) if is_small else contextlib.nullcontext()


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


def _harm_at(place, harmed, harm, at):
  """Start two processes, and harm one a moment later.

  Args:
    place: their folder.
    harmed, harm: which one, and how.
    at: seconds after the start.

  Returns:
    What is wrong with how they end, '' for nothing.
  """
  children = _start(place, 'harmed/run')
  time.sleep(at)
  child, other = children[harmed], children[1 - harmed]
  may = (0, 2, process.STUCK)
  if harm == 'out of disk':
    filler = full_disk.fill(place / 'harmed', full_disk.BYTES)
    ended = [each.end(timeout_s=8 * _LIMIT_S) for each in children]
    filler.unlink()
    return ''.join(process.fault(each, may) for each in ended)
  if harm == 'killed with the other':
    for each in children:
      each.kill()
      each.end()
    return ''
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
