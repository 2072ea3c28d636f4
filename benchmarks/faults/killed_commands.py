"""kill -9 at any moment of every command that is not a training."""

import pathlib
import random
from collections.abc import Iterator

from benchmarks.faults import commands, process, subjects
from benchmarks.faults.subjects import Tried

PROMISE = 'the same command then makes what it makes undisturbed'

_NAMES = [name for name in commands.COMMANDS if name != 'train']


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Kill commands at random moments, then run them to their end.

  Args:
    place: a folder with data.
    rng: of the moments.
    count: killed commands in all.
  """
  commands.keep_whole(place)
  straight: dict = {}
  done = turn = 0
  while done < count:
    name = _NAMES[turn % len(_NAMES)]
    turn += 1
    if name not in straight:
      straight[name] = _exact(place, name)
    expected, seconds = straight[name]
    commands.put_back(place)
    words = commands.COMMANDS[name]
    at = rng.uniform(0, 1.1 * seconds)
    if process.run(place, *words, timeout_s=at).status is not None:
      continue  # it was done before
    done += 1
    after = process.run(place, *words)
    there = 'is there already' in after.err or 'is there and' in after.err
    fault = process.fault(after, statuses=(0, 2) if there else (0,))
    found = subjects.content(place / commands.NEW)
    differing = [f for f in expected if found.get(f) != expected[f]]
    if not fault and differing:
      fault = f'makes other {", ".join(differing[:3])}'
    if not fault and (left := subjects.half_written(place)):
      fault = f'leaves {", ".join(left)}'
    what = f'{name}, killed after {at:.2f} s'
    yield Tried(what, fault, name, after.seconds)


def _exact(place, name):
  """Return digests of the files that two runs make equal, and the seconds."""
  both = []
  for _ in range(2):
    ended = commands.straight(place, name)
    both.append(subjects.content(place / commands.NEW))
  equal = {f: x for f, x in both[0].items() if both[1].get(f) == x}
  return equal, ended.seconds
