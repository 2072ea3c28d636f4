"""What keeps a stopped or failed preparation from leaving anything behind."""

import contextlib
import errno
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from jaxuda.utils.errors import UserError


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
  """Lets a stop unwind the stack, so that everything is cleaned up.

  That is SIGTERM, Ctrl-C, and the end of the terminal, unless `nohup` or the
  like told this process to outlive it. Gives a function that raises if one of
  them came: what a handler raises inside a callback of some library is lost.
  """
  came = []

  def check():
    if signal.SIGINT in came:
      raise KeyboardInterrupt
    if came:
      sys.exit(128 + came[0])

  def stop(signum, frame):
    del frame
    came.append(signum)
    check()

  if threading.current_thread() is not threading.main_thread():
    yield check
    return
  stops = [signal.SIGTERM, signal.SIGINT]
  if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
    stops.append(signal.SIGHUP)
  before = {s: signal.signal(s, stop) for s in stops}
  try:
    yield check
  finally:
    for signum, handler in before.items():
      signal.signal(signum, handler)
    check()


@contextlib.contextmanager
def explained(root: pathlib.Path) -> Iterator[None]:
  """Turns what a disk can do to us into one sentence."""
  try:
    yield
  except UserError:
    raise
  except OSError as e:
    full = e.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = 'no space is left' if full else e.strerror or str(e)
    raise UserError(f'{e.filename or root}: cannot write: {reason}.') from e
  except Exception as e:
    # TensorFlow and ArrayRecord have their own exceptions for a full disk.
    if 'No space left' not in str(e) and 'write() failed' not in str(e):
      raise
    sentence = ' '.join(str(e).split())
    raise UserError(f'{root}: cannot write: {sentence}') from e


@contextlib.contextmanager
def clean(folder: pathlib.Path) -> Iterator[None]:
  """Removes the empty folders above a dataset that did not come to be."""
  made = [p for p in (folder.parent, *folder.parents[1:]) if not p.exists()]
  try:
    yield
  finally:
    for path in made:
      with contextlib.suppress(OSError):
        path.rmdir()
