"""Batches prepared in the background, so that the device need not wait."""

import atexit
import collections
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


class prefetch:
  """An iterator over `put(batch)`, computed in a thread, `size` batches ahead.

    with prefetch(batches, put) as batches:
      for batch in batches:
        ...

  An exception of `iterator` or `put` is raised where the batch would have
  come. Leaving the `with` block, or `close`, ends the thread and closes
  `iterator`, if it is a generator.

  Attributes:
    waited_s: seconds that the consumer has spent waiting for batches so far.
  """

  def __init__(
    self, iterator: Iterator, put: Callable[[Any], Any], size: int = 2
  ):
    self.waited_s = 0.0
    self._iterator = iterator
    self._put = put
    self._size = size
    self._ready = collections.deque()
    self._changed = threading.Condition()
    self._closed = False  # set by the consumer
    self._ended = False  # set by the thread
    self._error = None
    # A daemon, so that a process that ends without `close` does not wait for
    # it for ever, but gets as far as calling `close` itself.
    self._thread = threading.Thread(
      target=self._work, name='prefetch', daemon=True
    )
    self._thread.start()
    atexit.register(self.close)

  def __iter__(self):
    return self

  def __next__(self):
    start = time.perf_counter()
    with self._changed:
      self._changed.wait_for(lambda: self._ready or self._ended)
      self.waited_s += time.perf_counter() - start
      if self._ready:
        batch = self._ready.popleft()
        self._changed.notify_all()
        return batch
      error, self._error = self._error, None
    if error is not None:
      raise error
    raise StopIteration

  def __enter__(self):
    return self

  def __exit__(self, *unused_exception):
    self.close()

  def close(self) -> None:
    """End the thread, once it is done with the batch at hand."""
    with self._changed:
      self._closed = True
      self._changed.notify_all()
    self._thread.join()
    atexit.unregister(self.close)
    self._ready.clear()
    if hasattr(self._iterator, 'close'):
      self._iterator.close()

  def _work(self):
    error = None
    try:
      while self._wait_for_room():
        batch = self._put(next(self._iterator))
        with self._changed:
          self._ready.append(batch)
          self._changed.notify_all()
    except StopIteration:
      pass
    except BaseException as e:  # whatever it is, it belongs to the consumer
      error = e
    with self._changed:
      self._error, self._ended = error, True
      self._changed.notify_all()

  def _wait_for_room(self):
    with self._changed:
      self._changed.wait_for(
        lambda: self._closed or len(self._ready) < self._size
      )
      return not self._closed
