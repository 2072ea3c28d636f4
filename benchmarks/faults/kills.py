"""kill -9 at any moment of a training, of any method, and of its stages."""

import pathlib
import random
import shutil
from collections.abc import Iterator

from benchmarks.faults import process, subjects
from benchmarks.faults.subjects import Tried

PROMISE = 'a run that goes on ends as one that was never killed, to the bit'


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Kill trainings at random moments, then let them go on to their end.

  Args:
    place: a folder with data.
    rng: of the moments.
    count: kills in all.
  """
  straight = {}
  left = count
  for turn in range(count):
    if left <= 0:
      return
    method = subjects.METHODS[turn % len(subjects.METHODS)]
    if method not in straight:
      straight[method] = _straight(place, method)
    expected, seconds = straight[method]
    for name in place.glob('killed*'):
      shutil.rmtree(name)
    words = subjects.training(method, 'killed/run')
    # Several kills of one run: also while it goes on, and before it has begun.
    for _ in range(min(left, rng.choice((1, 2, 3)))):
      at = rng.uniform(0, 1.1 * seconds)
      child = process.Child(place, *words)
      ended = child.end(timeout_s=at)
      left -= 1
      what = f'{method}, killed after {at:.2f} s'
      fault = process.fault(ended) if ended.status is not None else ''
      note = 'killed' if ended.status is None else 'ended before'
      if fault:
        break
      yield Tried(what, '', note, ended.seconds)
    ended = process.run(place, *words)
    fault = fault or process.fault(ended, statuses=(0,))
    if not fault:
      found = subjects.end_state(place / 'killed/run')
      differing = subjects.difference(expected, found)
      fault = differing and f'ends with other {differing}'
    if not fault and (left_over := subjects.half_written(place)):
      fault = f'leaves {", ".join(left_over)}'
    yield Tried(f'{what}, and gone on', fault, 'identical', ended.seconds)


def _straight(place, method):
  """Return the end state of a run that nobody stops, and its seconds."""
  for _ in range(2):  # the first one compiles
    shutil.rmtree(place / f'straight-{method}', ignore_errors=True)
    ended = subjects.train(place, method, f'straight-{method}/run')
  return subjects.end_state(place / f'straight-{method}/run'), ended.seconds
