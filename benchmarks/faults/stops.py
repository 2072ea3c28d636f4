"""Signals from the first moment on, once and twice, for every command."""

import pathlib
import random
import re
import signal
import time
from collections.abc import Iterator

from benchmarks.faults import commands, process, subjects
from benchmarks.faults.subjects import Tried

PROMISE = 'a sentence and 128 + the number; nothing half-written; it goes on'

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MOST_S = 4.0  # of an end that had begun when the signal came


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Signal commands at random moments, then run them to their end.

  Args:
    place: a folder with data.
    rng: of commands, moments and signals.
    count: signalled commands in all.
  """
  commands.keep_whole(place)
  lasting = {}
  for turn in range(count):
    name = [*commands.COMMANDS][turn % len(commands.COMMANDS)]
    words = commands.COMMANDS[name]
    if name not in lasting:
      lasting[name] = commands.straight(place, name).seconds
    commands.put_back(place)
    number, at = rng.choice(_SIGNALS), rng.uniform(0, 1.1 * lasting[name])
    again = rng.choice((None, None, 0.1, 1.5))
    child = process.Child(place, *words)
    time.sleep(at)
    was_over = child.has_ended()
    child.signal(number)
    signalled = time.monotonic()
    if again:
      time.sleep(again)
      child.signal(number)
    ended = child.end()
    went_on = 0.0 if was_over else time.monotonic() - signalled
    twice = f' and again after {again} s' if again else ''
    what = f'{name}, {number.name} after {at:.3f} s{twice}'
    fault, note = _judge(ended, number, went_on)
    if not fault and not again and (left := subjects.half_written(place)):
      fault = f'leaves {", ".join(left)}'
    if not fault:
      after = process.run(place, *words)
      # What is there, as it came to be whole, is not made twice.
      done = 'is there already' in after.err or 'is there and' in after.err
      fault = '' if done else process.fault(after, statuses=(0,))
      if fault:
        fault = f'afterwards: {fault}'
    yield Tried(what, fault, note, ended.seconds)


def _judge(ended, number, went_on):
  """Return what is wrong with a signalled command, and how it ended.

  Args:
    ended: of the command.
    number: of the signal.
    went_on: seconds for which it ran after the signal.
  """
  if ended.status == 0 and not process.fault(ended):
    swallowed = went_on > _MOST_S and f'goes on for {went_on:.1f} s, to its end'
    return swallowed or '', 'had ended'
  if ended.status == -number and not ended.err:
    return '', 'stopped before Python began'
  if _is_python(ended.err):
    return '', 'stopped while Python began'
  if wrong := process.fault(ended, statuses=(128 + number,)):
    return wrong, 'failed'
  if number.name not in ended.err:
    return 'says nothing of the signal', 'failed'
  return '', 'stopped'


def _is_python(text):
  """Whether a traceback is of Python's own start, which no program can mend.

  There its `site` also runs what packages bring, as an editable one does.
  """
  files = set(re.findall(r'^  File "(.*?)"', text, re.MULTILINE))
  own = [f for f in files if str(process.ROOT) in f or 'site-packages' in f]
  return bool(files) and ('<frozen site>' in files or not own)
