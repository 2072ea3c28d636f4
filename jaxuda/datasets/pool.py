"""A function over many items on all cores, in order, in bounded memory."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import resource_tracker

from jaxuda.utils.errors import UserError

CHUNK = 4  # items a task: enough to hide its cost, few enough to hold
FEW = 32  # items that are done before worker processes would have started


def cores() -> int:
  """Return how many cores this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


@contextlib.contextmanager
def ordered_map(
  command: str, workers: int | None = None, expected: int = 0
) -> Iterator[Callable[[Callable, Iterable], Iterator]]:
  """Yield a `map` that runs on `workers` processes (default: all cores).

  Results come in the order of the items, whatever the number of workers. The
  processes are spawned, not forked: TensorFlow's threads do not survive a fork.
  They start at once if enough items are `expected`, otherwise when needed. The
  first exception of an item is raised in its place.

  Args:
    command: has the flag --workers; named where memory runs out.
    workers: number of processes; None for all cores.
    expected: about how many items there will be.
  """
  workers = workers or cores()
  # Of the signals that reach every process of a terminal, Python's own helper
  # process ignores all but a hangup; the one that replaces it would complain
  # about resources that it does not know.
  with _spared(signal.SIGHUP):
    resource_tracker.ensure_running()
  context = multiprocessing.get_context('spawn')
  executor = concurrent.futures.ProcessPoolExecutor(
    workers, mp_context=context, initializer=_start_worker
  )

  if workers > 1 and expected > FEW:
    for _ in range(workers):
      _submit(executor, os.getpid)

  def mapped(function, items):
    items = list(items)
    if workers == 1 or len(items) <= FEW:
      return map(function, items)
    return _spread(executor, workers, function, items, command)

  try:
    yield mapped
  finally:
    executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _spared(signum):
  """Block a signal in the processes that are started inside, from the start."""
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signum})
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spread(executor, workers, function, items, command):
  chunks = iter([items[i : i + CHUNK] for i in range(0, len(items), CHUNK)])
  # A slow writer leaves a bounded number of results waiting here.
  pending = collections.deque()
  try:
    while True:
      while len(pending) < 3 * workers:
        chunk = next(chunks, None)
        if chunk is None:
          break
        pending.append(_submit(executor, _run_chunk, function, chunk))
      if not pending:
        return
      results, error = pending.popleft().result()
      yield from results
      if error:
        raise error
  except concurrent.futures.process.BrokenProcessPool:
    raise UserError(
      'a worker process died; if nothing above says why, memory ran out: run '
      f'`{command} --workers=1`.'
    ) from None


def _submit(executor, *call):
  # Ctrl-C reaches every process of the terminal; only the parent handles it.
  with _spared(signal.SIGINT):
    return executor.submit(*call)


def _run_chunk(function, chunk):
  """Return the results up to the first exception, and that exception."""
  results = []
  for item in chunk:
    try:
      results.append(function(item))
    except Exception as e:
      return results, e
  return results, None


def _start_worker():
  parent = multiprocessing.parent_process()

  def die_with_parent():
    parent.join()
    os._exit(1)

  threading.Thread(target=die_with_parent, daemon=True).start()
