"""One preparation of a dataset at a time, also across processes and hosts."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def hold(
  path: pathlib.Path, waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
  """Holds the lock file `path` while inside, then removes it.

  A killed process leaves the file, but not the lock.

  Args:
    path: its folder is made if needed.
    waiting: called once if somebody else holds the lock.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  while True:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
      try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        waiting()
        fcntl.flock(handle, fcntl.LOCK_EX)
      # The holder before us removed the file: lock the one that is there now.
      if not _is(path, handle):
        continue
      try:
        yield
      finally:
        path.unlink(missing_ok=True)
      return
    finally:
      os.close(handle)


def _is(path, handle):
  try:
    return os.path.samestat(os.stat(path), os.fstat(handle))
  except FileNotFoundError:
    return False
