"""What the commands print: lines, durations, tables and progress."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence

from jaxuda.utils import names

SECONDS_BETWEEN_LINES = 10.0


def print0(text: str = '') -> None:
  """Print a line, from the first process of a run alone."""
  import jax  # late, because command lines answer before they need it

  if jax.process_index() == 0:
    print(names.printable(text), flush=True)


# What is read several times is told of once.
print_once = functools.cache(print0)


def duration(seconds: float) -> str:
  """Return '1:02:03' or '2:03'."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}:{minutes:02}:{seconds:02}'
  return f'{minutes}:{seconds:02}'


def table(
  columns: Sequence[str],
  rows: Sequence[Sequence[str]],
  last: Sequence[Sequence[str]] = (),
) -> str:
  """Return a text table: the first column flush left, all others flush right.

  Args:
    columns: the headings.
    rows: the cells of each row.
    last: further rows, below a line.
  """
  from rich import box
  from rich.console import Console
  from rich.table import Table

  grid = Table(box=box.SIMPLE_HEAD)
  for i, name in enumerate(columns):
    grid.add_column(name, justify='right' if i else 'left')
  for row in rows:
    grid.add_row(*row)
  if last:
    grid.add_section()
  for row in last:
    grid.add_row(*row)
  console = Console(width=100, force_terminal=False, color_system=None)
  with console.capture() as capture:
    console.print(grid)
  return capture.get().rstrip()


@contextlib.contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[], None]]:
  """Show how many of `total` are done: call the function after each of them.

  A bar with rate and remaining time, or plain lines where there is no terminal.
  """
  import rich.console

  console = rich.console.Console()
  if console.is_terminal:
    with _bar(console, label, total) as advance:
      yield advance
  else:
    yield _lines(label, total)


@contextlib.contextmanager
def _bar(console, label, total):
  import rich.progress

  columns = (
    rich.progress.TextColumn('{task.description}'),
    rich.progress.BarColumn(),
    rich.progress.MofNCompleteColumn(),
    rich.progress.TextColumn('{task.fields[rate]}'),
    rich.progress.TimeRemainingColumn(),
  )
  with rich.progress.Progress(*columns, console=console) as shown:
    task = shown.add_task(label, total=total, rate='')
    start, done = time.monotonic(), 0

    def advance():
      nonlocal done
      done += 1
      rate = done / max(time.monotonic() - start, 1e-9)
      shown.update(task, advance=1, rate=f'{rate:.1f}/s')

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
    left = duration((total - done) / rate)
    print(
      f'{label}: {done:,} of {total:,}, {rate:.1f}/s, {left} left', flush=True
    )

  return advance
