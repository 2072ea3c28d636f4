"""How a program stops when asked: SIGTERM, Ctrl-C, the end of its terminal."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# `timeout -s INT` and some shells signal a process twice at once.
_SAME_S = 1.0
_RETRY_S = 0.05
_IMPORTING = '<frozen importlib'  # names the code of Python's import


class StopSignal:
  """A context manager that turns signals into a flag.

  The first SIGTERM, SIGINT or SIGHUP is noted; another one, a second later or
  more, ends the process at once. Those that the parent ignores stay ignored.
  With several processes the signals stay with jax's preemption service, which
  lets all of them stop at the same step.

  At its end the earlier handlers come back. Only in the main thread are
  signals handled.
  """

  def __init__(self):
    """Handle nothing yet."""
    self._received = threading.Event()
    self._number = signal.SIGTERM  # which jax's service waits for, too
    self._before: dict = {}
    self._watch = _Watch(self._note)

  def __enter__(self) -> 'StopSignal':
    if _in_main_thread() and _process_count() == 1:
      self._watch.open()
      self._before = {
        s: signal.signal(s, lambda *_: None) for s in _stop_signals()
      }
    return self

  def __exit__(self, *exc_info) -> None:
    _restore(self._before)
    self._watch.close()

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

  @property
  def status(self) -> int:
    """The exit status of what a signal has stopped: 128 + its number."""
    return 128 + self._number

  def until_requested(self, items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items, up to the moment when a stop is requested."""
    for item in items:
      if self.requested:
        return
      yield item

  def _note(self, number):
    self._number = number
    self._received.set()
    return (
      f'{number.name}: saving at the next step, then stopping; a second one '
      'stops at once'
    )


class Unwinding:
  """A context manager in which a signal raises, so that all is cleaned up.

  The first SIGTERM, SIGINT or SIGHUP raises where the program is:
  KeyboardInterrupt, or SystemExit of 128 + its number. Another one, a second
  later or more, ends the process at once. Those that the parent ignores stay
  ignored. What a handler raises inside a destructor, or a callback of Python's
  collector, is dropped there, and raised again a moment later. Inside a
  callback of some library it is lost, or comes out as another error: `check`
  raises again, as the end of the context does, and `number` tells.

  At its end the earlier handlers come back. Only in the main thread are
  signals handled.

  Attributes:
    number: of the signal that has come, or None.
  """

  def __init__(self, ends: bool = False):
    """Handle nothing yet.

    Args:
      ends: whether the process ends with the context; signals are ignored
        behind it.
    """
    self._ends = ends
    self.number: int | None = None
    self._before: dict = {}
    self._watch = _Watch(
      lambda number: f'{number.name}: stopping; nothing is left half-written'
    )

  def __enter__(self) -> 'Unwinding':
    if _in_main_thread():
      self._watch.open()
      self._before = {
        s: signal.signal(s, self._handle) for s in _stop_signals()
      }
      self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._raise)
      self._unraisable = sys.unraisablehook
      sys.unraisablehook = self._raise_later
    return self

  def __exit__(self, *exc_info) -> None:
    if self._ends:
      # The rest of a command's way is short, and no second signal is to cut
      # it: at its end Python takes handlers away, but none that ignores.
      self._before = {
        s: handler if s == signal.SIGALRM else signal.SIG_IGN
        for s, handler in self._before.items()
      }
    if self._before:
      signal.setitimer(signal.ITIMER_REAL, 0)
      sys.unraisablehook = self._unraisable
    _restore(self._before)
    self._watch.close()
    self.check()

  def check(self) -> None:
    """Raise KeyboardInterrupt or SystemExit if a signal has come."""
    if self.number is None:
      return
    # Or it would be raised again amid the cleaning up.
    signal.setitimer(signal.ITIMER_REAL, 0)
    if self.number == signal.SIGINT:
      raise KeyboardInterrupt
    sys.exit(128 + self.number)

  def _handle(self, number, frame):
    if self.number is None:  # else what was raised is on its way
      self.number = number
      self._raise(number, frame)

  def _raise(self, _, frame):
    # A library of which half is imported may crash on its way out.
    while frame:
      if frame.f_code.co_filename.startswith(_IMPORTING):
        signal.setitimer(signal.ITIMER_REAL, _RETRY_S)
        return
      frame = frame.f_back
    self.check()

  def _raise_later(self, unraisable):
    # Python would print what a destructor has raised, and drop it.
    if isinstance(unraisable.exc_value, (KeyboardInterrupt, SystemExit)):
      signal.setitimer(signal.ITIMER_REAL, _RETRY_S)
    else:
      self._unraisable(unraisable)


class _Watch:
  """Reads stop signals as the system delivers them, in a thread.

  A Python handler runs only between bytecodes, so not while XLA compiles for
  minutes. The system also writes each signal's number to a pipe, which is read
  here: what is said about the first signal is said at once, and a second one
  ends the process wherever it is.
  """

  def __init__(self, on_first: Callable[[signal.Signals], str]):
    """Read nothing yet.

    Args:
      on_first: the first signal -> the sentence that is said about it.
    """
    self._on_first = on_first
    self._writer: int | None = None

  def open(self) -> None:
    """Start to read."""
    reader, self._writer = os.pipe()
    os.set_blocking(self._writer, False)
    self._thread = threading.Thread(
      target=self._read, args=(reader,), daemon=True
    )
    self._thread.start()
    self._wakeup_before = signal.set_wakeup_fd(
      self._writer, warn_on_full_buffer=False
    )

  def close(self) -> None:
    """End the thread, once it has read what is there."""
    if self._writer is None:
      return
    signal.set_wakeup_fd(self._wakeup_before)
    os.close(self._writer)
    self._thread.join()
    self._writer = None

  def _read(self, reader):
    first = None  # when the first one came
    while numbers := os.read(reader, 1):
      number = numbers[0]
      if number not in _STOP_SIGNALS:
        continue
      if first is None:
        first = time.monotonic()
        _say(self._on_first(signal.Signals(number)))
      elif time.monotonic() - first >= _SAME_S:
        _say(f'{signal.Signals(number).name} again: stopping at once')
        os._exit(128 + number)
    os.close(reader)


def _say(text):
  with contextlib.suppress(OSError):  # a terminal that is gone
    os.write(2, f'\n{text}\n'.encode())


def _stop_signals() -> list[signal.Signals]:
  """Return those to handle: none that the parent, as `nohup`, ignores."""
  return [s for s in _STOP_SIGNALS if signal.getsignal(s) != signal.SIG_IGN]


def _restore(handlers):
  for number, handler in handlers.items():
    signal.signal(number, handler)
  handlers.clear()


def _in_main_thread() -> bool:
  return threading.current_thread() is threading.main_thread()


def _process_count() -> int:
  import jax  # late: what prepares data has no use for it

  return jax.process_count()
