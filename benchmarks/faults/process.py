"""Commands as a user starts them, and whether they ended well."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
TIMEOUT_S = 300
# What a library or Python says as its last words, and nobody should read.
_NOISE = (
  'Traceback (most recent call last)',
  'Event loop is closed',
  'Exception ignored',
  'Fatal Python error',
  'terminate called',
)
STUCK = 75  # the status of what a watchdog has ended
MOST_BYTES = 6 * 2**30  # that any of these small commands may take


class Ended(NamedTuple):
  """How a process ended.

  Attributes:
    status: its exit status; minus a signal's number; None where it was still
      running after its time, and was killed.
    out, err: what it printed.
    seconds: from its start.
    peak: bytes that it, or the largest of its own children, had in memory.
  """

  status: int | None
  out: str
  err: str
  seconds: float
  peak: int


class Child:
  """A running command, whose output goes to files."""

  def __init__(self, place: pathlib.Path, *words: str, **environment: str):
    """Start `python -m jaxuda WORDS` in a folder.

    Args:
      place: the folder.
      words: the command and its arguments.
      environment: changed variables.
    """
    # Not pipes, which a command that says much would wait for.
    self.out, self.err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
    more = {'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1', **environment}
    self.began = time.monotonic()
    self.process = subprocess.Popen(
      [sys.executable, '-m', 'jaxuda', *words],
      cwd=place,
      env=os.environ | more,
      stdin=subprocess.DEVNULL,
      stdout=self.out,
      stderr=self.err,
      start_new_session=True,  # so that it can be killed with its children
      preexec_fn=_obey,
    )

  def signal(self, number: int) -> None:
    """Send a signal to it, and not to its children."""
    os.kill(self.process.pid, number)  # not Popen's, which would wait for it

  def kill(self) -> None:
    """End it and its children as a machine ends that loses power."""
    os.killpg(self.process.pid, signal.SIGKILL)

  def wait_for(self, text: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Wait until it has printed a text; False where it ends before."""
    limit = time.monotonic() + timeout_s
    while time.monotonic() < limit:
      ended = self.has_ended()
      if text in _read(self.out):
        return True
      if ended:
        return False
      time.sleep(0.01)
    return False

  def has_ended(self) -> bool:
    """Return whether it has ended; `end` still tells how."""
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, self.process.pid, how) is not None

  def end(self, timeout_s: float = TIMEOUT_S) -> Ended:
    """Wait for its end, or kill it after its time."""
    limit, status, usage = time.monotonic() + timeout_s, None, None
    pid = self.process.pid
    while usage is None:
      done, code, used = os.wait4(pid, os.WNOHANG)
      if done:
        status, usage = os.waitstatus_to_exitcode(code), used
      elif time.monotonic() > limit:
        self.kill()
        _, _, usage = os.wait4(pid, 0)
      else:
        time.sleep(0.01)
    self.process.returncode = status if status is not None else -9
    seconds = time.monotonic() - self.began
    peak = usage.ru_maxrss * 1024
    return Ended(status, _read(self.out), _read(self.err), seconds, peak)


def _obey():
  """Let a child obey what is ignored by all that `&` or `nohup` has started."""
  for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)


def run(
  place: pathlib.Path,
  *words: str,
  timeout_s: float = TIMEOUT_S,
  **environment: str,
) -> Ended:
  """Run a command to its end; see Child."""
  return Child(place, *words, **environment).end(timeout_s)


def fault(ended: Ended, statuses: tuple[int, ...] = (0, 2)) -> str:
  """Return what is wrong with the end of a command, '' for nothing.

  Args:
    ended: of the command.
    statuses: those that it may have. With 2 and STUCK it has said one sentence,
      and with none it has shown a traceback.
  """
  if ended.status is None:
    return f'hangs: {_last(ended)}'
  if noise := [text for text in _NOISE if text in ended.err + ended.out]:
    return f'prints {noise[0]}: {_last(ended)}{_innermost(ended)}'
  if ended.peak > MOST_BYTES:
    return f'takes {ended.peak / 2**30:.1f} GiB'
  if ended.status not in statuses:
    return f'status {ended.status}: {_last(ended)}'
  errors = re.findall('^error: ', ended.err, re.MULTILINE)
  if (ended.status in (2, STUCK)) != (len(errors) == 1):
    return f'status {ended.status} with {len(errors)} errors: {_last(ended)}'
  said = ended.err + ended.out
  strange = {c for c in said if not c.isprintable()} - {*'\n\r\t'}
  if strange:
    return f'prints {sorted(strange)!r}'
  return ''


def _last(ended):
  lines = (ended.err.strip() or ended.out.strip() or 'says nothing').split('\n')
  return lines[-1][:200]


def _innermost(ended):
  """Return where the last traceback that was printed ends."""
  frames = re.findall(r'^ *(File ".*)', ended.err + ended.out, re.MULTILINE)
  return f' ({frames[-1]})' if frames else ''


def _read(file) -> str:
  size = os.fstat(file.fileno()).st_size
  return os.pread(file.fileno(), size, 0).decode(errors='replace')
