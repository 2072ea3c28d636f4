"""kill -9 at any moment of a training, of any method, and of its stages."""

import itertools
import pathlib
import random
from collections.abc import Iterator

from benchmarks.faults import process, subjects
from benchmarks.faults.subjects import Tried
from jaxuda.utils import files

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
  straight: dict = {}
  left = count
  for method in itertools.cycle(subjects.METHODS):
    if left <= 0:
      return
    if method not in straight:
      folder = f'straight-{method}/run'
      straight[method] = subjects.straight(place, method, folder)
    expected, seconds = straight[method]
    for folder in place.glob('killed*'):
      files.remove(folder)
    words = subjects.training(method, 'killed/run')
    # Several kills of one run: also while it goes on, and before it has begun.
    for _ in range(min(left, rng.choice((1, 2, 3)))):
      at = rng.uniform(0, 1.1 * seconds)
      ended = process.run(place, *words, timeout_s=at)
      what = f'{method}, killed after {at:.2f} s'
      if ended.status is not None:  # it was done before
        break
      left -= 1
      yield Tried(what, '', 'killed', ended.seconds)
    ended = process.run(place, *words)
    fault = subjects.fault_at_end(ended, expected, place / 'killed/run')
    if not fault and (left_over := subjects.half_written(place)):
      fault = f'leaves {", ".join(left_over)}'
    yield Tried(f'{what}, and gone on', fault, 'identical', ended.seconds)
