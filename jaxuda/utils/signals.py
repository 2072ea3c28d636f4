"""How a program stops when asked: SIGTERM, Ctrl-C, the end of its terminal."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
  """A context manager that turns signals into a flag, or into an exception.

  As a flag: the first SIGTERM or SIGINT is noted, a second one exits at once.
  With several processes the signals stay with jax's preemption service, which
  lets all of them stop at the same step.

  With `unwind`: the first one raises where the program is, so that everything
  is cleaned up; so does a SIGHUP, unless `nohup` or the like told this process
  to outlive its terminal. What a handler raises inside a callback of some
  library is lost: call `check` between the steps of the work.

  At its end the earlier handlers come back. Only in the main thread are
  signals handled.
  """

  def __init__(self, unwind: bool = False):
    """Handle nothing yet.

    Args:
      unwind: whether a signal raises, in place of setting the flag.
    """
    self._unwind = unwind
    self._received = threading.Event()
    self._number: int | None = None
    self._before: dict = {}
    self._writer: int | None = None

  def __enter__(self) -> 'StopSignal':
    if threading.current_thread() is not threading.main_thread():
      return self
    if self._unwind:
      stops = [*_STOP_SIGNALS]
      if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        stops.append(signal.SIGHUP)
      self._before = {s: signal.signal(s, self._raise) for s in stops}
    elif _process_count() == 1:
      self._watch_signals()
      self._before = {
        s: signal.signal(s, lambda *_: None) for s in _STOP_SIGNALS
      }
    return self

  def __exit__(self, *exc_info) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)
    self._before = {}
    if self._writer is not None:
      signal.set_wakeup_fd(self._wakeup_before)
      os.close(self._writer)
      self._thread.join()
      self._writer = None
    if self._unwind:
      self.check()

  @property
  def requested(self) -> bool:
    """Whether this process was asked to stop; never set with several.

    For places that one process may leave on its own, such as an evaluation.
    """
    return self._received.is_set()

  def requested_at(self, step: int) -> bool:
    """Return whether to stop at this step, the same on every process.

    Args:
      step: call it once for each step, on every process.
    """
    if _process_count() > 1:
      from jax.experimental import multihost_utils

      return multihost_utils.reached_preemption_sync_point(step)
    return self.requested

  def until_requested(self, items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items, up to the moment when a stop is requested."""
    for item in items:
      if self.requested:
        return
      yield item

  def check(self) -> None:
    """Raise KeyboardInterrupt or SystemExit if a signal has come."""
    if self._number == signal.SIGINT:
      raise KeyboardInterrupt
    if self._number is not None:
      sys.exit(128 + self._number)

  def _raise(self, number, frame):
    self._number = number
    # Python prints and drops what is raised inside a callback of its collector.
    collecting = {getattr(call, '__code__', None) for call in gc.callbacks}
    while frame:
      if frame.f_code in collecting:
        return
      frame = frame.f_back
    self.check()

  def _watch_signals(self):
    # A Python handler runs only between bytecodes, so not while XLA compiles
    # for minutes. The system also writes each signal's number to this pipe.
    reader, self._writer = os.pipe()
    os.set_blocking(self._writer, False)
    self._thread = threading.Thread(
      target=self._watch, args=(reader,), daemon=True
    )
    self._thread.start()
    self._wakeup_before = signal.set_wakeup_fd(
      self._writer, warn_on_full_buffer=False
    )

  def _watch(self, reader: int) -> None:
    """Read signal numbers until the pipe is closed."""
    while numbers := os.read(reader, 1):
      number = numbers[0]
      if number not in _STOP_SIGNALS:
        continue
      name = signal.Signals(number).name
      if self._received.is_set():
        os.write(2, f'\n{name} again: stopping at once\n'.encode())
        os._exit(128 + number)
      self._received.set()
      os.write(
        2,
        f'\n{name}: saving at the next step, then stopping; a second one '
        'stops at once\n'.encode(),
      )
    os.close(reader)


def _process_count() -> int:
  import jax  # late: what prepares data has no use for it

  return jax.process_count()
