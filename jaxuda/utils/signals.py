"""Stopping when asked: SIGTERM or Ctrl-C ends a run at its next step."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
  """Turns the first SIGTERM or SIGINT into a flag; a second exits at once.

  A context manager for the main thread; the handlers of before come back at
  its end. With several processes the signals stay with jax's preemption
  service, which lets all of them stop at the same step.
  """

  def __init__(self):
    self._received = threading.Event()
    self._before = {}

  def __enter__(self) -> 'StopSignal':
    if jax.process_count() > 1:
      return self
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
    self._before = {s: signal.signal(s, lambda *_: None) for s in _STOP_SIGNALS}
    return self

  def __exit__(self, *exc_info) -> None:
    if not self._before:
      return
    for number, handler in self._before.items():
      signal.signal(number, handler)
    self._before = {}
    signal.set_wakeup_fd(self._wakeup_before)
    os.close(self._writer)
    self._thread.join()

  @property
  def requested(self) -> bool:
    """Whether this process was asked to stop; never set with several.

    For places that one process may leave alone, such as an evaluation.
    """
    return self._received.is_set()

  def requested_at(self, step: int) -> bool:
    """Whether to stop at this step: the same answer on every process.

    Args:
      step: call it once for each step, on every process.
    """
    if jax.process_count() > 1:
      return multihost_utils.reached_preemption_sync_point(step)
    return self.requested

  def until_requested(self, items: Iterable[Any]) -> Iterator[Any]:
    """The items, up to the moment that a stop is requested."""
    for item in items:
      if self.requested:
        return
      yield item

  def _watch(self, reader: int) -> None:
    """Reads signal numbers until the pipe is closed."""
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
