"""A lock file, which one process at a time holds, also on hosts of one disk."""

import contextlib
import fcntl
import os
import pathlib
import socket
from collections.abc import Callable, Iterator


class HeldError(Exception):
  """Another process holds the lock; the message names the process."""


@contextlib.contextmanager
def hold(
  path: pathlib.Path, wait: Callable[[], None] | None = None
) -> Iterator[None]:
  """Hold the lock file `path` while inside, then remove it.

  A killed process leaves the file, but not the lock.

  Args:
    path: its folder is made if needed.
    wait: called if another process holds the lock, before waiting for it; None
      not to wait.

  Raises:
    HeldError: another process holds the lock, and there is no `wait`.
    OSError: the file cannot be made or written.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  while True:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
      _take(handle, wait)
      # The holder before us removed the file: lock the one that is there now.
      if not _is(path, handle):
        continue
      os.truncate(handle, 0)
      os.write(handle, f'{os.getpid()} on {socket.gethostname()}'.encode())
      try:
        yield
      finally:
        path.unlink(missing_ok=True)
      return
    finally:
      os.close(handle)


def _take(handle, wait):
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    if wait is None:
      holder = os.pread(handle, 200, 0).decode(errors='replace')
      known = holder and holder.isprintable()
      raise HeldError(holder if known else '(unknown)') from None
    wait()
    fcntl.flock(handle, fcntl.LOCK_EX)


def _is(path, handle):
  try:
    return os.path.samestat(os.stat(path), os.fstat(handle))
  except FileNotFoundError:
    return False
