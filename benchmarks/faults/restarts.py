"""A day of restarts: one run that is stopped again and again."""

import pathlib
import random
import signal
import time
from collections.abc import Iterator

from benchmarks.faults import process, subjects
from benchmarks.faults.subjects import Tried

PROMISE = 'a run of many restarts ends as the straight one, to the bit'

METHOD = 'dacs'
STEPS = 'steps=400'


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Stop a run a moment after each start, then let it go on to its end.

  Args:
    place: a folder with data.
    rng: of the moments, and of how it is stopped.
    count: restarts.
  """
  expected, _ = subjects.straight(place, METHOD, 'straight/run', STEPS)
  words = subjects.training(METHOD, 'stopped/run', STEPS)
  for number in range(count):
    child = process.Child(place, *words)
    child.wait_for('step ')
    time.sleep(rng.uniform(0, 0.3))
    how = rng.choice((signal.SIGTERM, signal.SIGKILL))
    child.signal(how)
    ended = child.end()
    may = (0, -9) if how == signal.SIGKILL else (0, 143)
    fault = process.fault(ended, may)
    what = f'restart {number + 1}, {how.name}'
    yield Tried(
      what, fault, 'stopped' if ended.status else 'ended', ended.seconds
    )
    if not ended.status:
      break
  ended = process.run(place, *words)
  fault = subjects.fault_at_end(ended, expected, place / 'stopped/run')
  yield Tried(f'after {number + 1} restarts', fault, 'identical', ended.seconds)
