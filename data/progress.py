"""A progress bar with rate and ETA; plain lines where there is no terminal."""

import contextlib
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress

SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[], None]]:
  """Shows how many of `total` are done; call the result after each of them."""
  console = rich.console.Console()
  if not console.is_terminal:
    yield _lines(label, total)
    return
  columns = (
    rich.progress.TextColumn('{task.description}'),
    rich.progress.BarColumn(),
    rich.progress.MofNCompleteColumn(),
    rich.progress.TextColumn('{task.fields[rate]}'),
    rich.progress.TimeRemainingColumn(),
  )
  with rich.progress.Progress(*columns, console=console) as progress:
    task = progress.add_task(label, total=total, rate='')
    start = time.monotonic()
    done = 0

    def advance():
      nonlocal done
      done += 1
      rate = done / max(time.monotonic() - start, 1e-9)
      progress.update(task, advance=1, rate=f'{rate:.1f}/s')

    yield advance


def _lines(label, total):
  start = last = time.monotonic()
  done = 0

  def advance():
    nonlocal done, last
    done += 1
    now = time.monotonic()
    if now - last < SECONDS_BETWEEN_LINES or done == total:
      return
    last = now
    rate = done / (now - start)
    left = round((total - done) / rate)
    print(
      f'{label}: {done:,} of {total:,}, {rate:.1f}/s, {left} s left', flush=True
    )

  return advance
