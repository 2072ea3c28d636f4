"""What ends a run that is stuck: another process, a disk or a thread hangs."""

import collections
import faulthandler
import os
import pathlib
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import jax

STATUS = 75  # EX_TEMPFAIL of sysexits.h: start it again
STARTING, COMPILING = 'starting', 'compiling'
# Times the limit; the first of the evaluations compiles, too.
_LONG = {
  STARTING: 12,
  COMPILING: 12,
  'evaluating': 4,
  'saving': 4,
  'drawing': 4,
}
_SLOW = 20  # times the longest that a stage has taken is no hang
_EVERY_S = 1.0


class Watchdog:
  """A context manager that ends the process where nothing goes on.

  `at` says what is done now. A thread looks whether that takes too long; then
  it writes the stacks of all threads to <run>/stuck-<process>.txt, says so, and
  exits with STATUS. Checkpoints are whole then as after a kill. While the
  process itself is stopped (Ctrl-Z), no time is counted.
  """

  def __init__(self, workdir: pathlib.Path, limit_s: float | None):
    """Say that it starts.

    Args:
      workdir: the run's folder.
      limit_s: seconds that a step, a batch and the like may take, unless one
        took a twentieth before; None for ever.
    """
    self._workdir, self._limit_s = workdir, limit_s
    self._now = STARTING, 0
    self._end = threading.Event()
    self._thread = threading.Thread(target=self._watch, daemon=True)

  def __enter__(self) -> 'Watchdog':
    if self._limit_s is not None:
      self._thread.start()
    return self

  def __exit__(self, *exc_info) -> None:
    self._end.set()

  def at(self, stage: str, step: int) -> None:
    """Say what begins now, and that what was said before is done."""
    self._now = stage, step

  def each(self, items: Iterable[Any]) -> Iterator[Any]:
    """Yield items, each of which is progress in what is done now."""
    for item in items:
      self.at(*self._now)
      yield item

  def _watch(self):
    looked_at, waited_s = self._now, 0.0
    longest: collections.defaultdict = collections.defaultdict(float)
    while not self._end.wait(_EVERY_S):
      now = self._now
      if now is not looked_at:  # not equal: `each` says the same again
        longest[looked_at[0]] = max(longest[looked_at[0]], waited_s)
        looked_at, waited_s = now, 0.0
        continue
      waited_s += _EVERY_S
      stage, step = now
      limit_s = self._limit_s * _LONG.get(stage, 1)
      if waited_s > max(limit_s, _SLOW * longest[stage]):
        self._exit(stage, step, waited_s)

  def _exit(self, stage, step, waited):
    rank = jax.process_index()
    path = self._workdir / f'stuck-{rank}.txt'
    where = f'the stacks of its threads are in {path}'
    try:
      with open(path, 'w') as file:
        faulthandler.dump_traceback(file)
    except OSError as e:
      where = f'{path} cannot be written ({e.strerror})'
    others = ' or another process' if jax.process_count() > 1 else ''
    sys.stdout.flush()
    print(
      f'error: process {rank} is stuck: {stage} at step {step} for '
      f'{waited:.0f} s (config.stuck_after). Its disk{others} hangs; {where}. '
      'Start again to go on from the last checkpoint.',
      file=sys.stderr,
      flush=True,
    )
    os._exit(STATUS)


class WatchedStop:
  """A signals.StopSignal whose batches are progress for a watchdog."""

  def __init__(self, stop, watchdog: Watchdog):
    """Join the two."""
    self._stop, self._watchdog = stop, watchdog

  @property
  def requested(self) -> bool:
    """See signals.StopSignal."""
    return self._stop.requested

  def until_requested(self, items: Iterable[Any]) -> Iterator[Any]:
    """See signals.StopSignal."""
    return self._watchdog.each(self._stop.until_requested(items))
