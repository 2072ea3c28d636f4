"""A run's log of metrics: one row per logged step, appended as it trains."""

import csv
import errno
import io
import os
import pathlib
from collections.abc import Mapping, Sequence

from absl import logging

from jaxuda.utils import files
from jaxuda.utils.errors import UserError


class MetricsCsv:
  """An append-only csv log: a row for each call, a column for each name.

  A killed process leaves at most one half-written line, which the next one
  drops before it writes. A full disk costs a warning: rows wait in memory
  until they can be written.

  Attributes:
    path: of the file; made at the first row.
  """

  def __init__(self, path: str | pathlib.Path):
    """Write nothing yet."""
    self.path = pathlib.Path(path)
    self._columns: list[str] | None = None
    self._waiting: list[dict[str, str]] = []

  def append(self, step: int, values: Mapping[str, float | None]) -> None:
    """Append a row; a new name becomes a new column.

    Args:
      step: an integer.
      values: name -> number or scalar array; None leaves the field empty.
    """
    row = {'step': str(int(step))}
    for name, value in values.items():
      row[name] = '' if value is None else repr(float(value))
    self._waiting.append(row)
    self.close()

  def close(self) -> None:
    """Write the waiting rows, if any; warn of those that cannot be written."""
    if not self._waiting:
      return
    try:
      self._flush()
    except (OSError, UserError) as e:
      count = len(self._waiting)
      logging.warning('%s: %d row(s) unwritten (%s)', self.path, count, e)

  def truncate(self, step: int) -> None:
    """Drop the rows after a step, which a resumed run will write again.

    No row is lost or repeated if those of a step are written before its
    checkpoint. Step -1 drops all of them.
    """
    rows = self._load()
    kept = [row for row in rows if int(row['step']) <= step]
    if len(kept) < len(rows):
      files.write_text(self.path, _format(self._columns, kept, True))

  def _load(self) -> list[dict[str, str]]:
    """Return the rows on disk, after removing half-written lines."""
    self._columns, rows, torn = _parse(self.path)
    if torn:
      logging.warning('%s: dropped %d half-written line', self.path, torn)
      if self._columns:
        files.write_text(self.path, _format(self._columns, rows, True))
      else:
        self.path.unlink()
    return rows

  def _flush(self) -> None:
    """Write the waiting rows, all or none of them."""
    if self._columns is None:
      self._load()
    names = dict.fromkeys(name for row in self._waiting for name in row)
    columns = list(dict.fromkeys([*self._columns, *names]))
    if columns != self._columns or not self.path.exists():
      rows = _parse(self.path)[1]
      whole = _format(columns, rows + self._waiting, True)
      files.write_text(self.path, whole)
      self._columns = columns
    else:
      _append_whole(self.path, _format(columns, self._waiting))
    self._waiting = []


def read_metrics(path: str | pathlib.Path) -> list[dict[str, float]]:
  """Return the rows of a metrics.csv, in order; none where there is no file.

  Returns:
    [{'step': 100, 'loss': 0.5}, ...]: the step an int, the others floats,
    empty fields left out.
  """
  return [
    {k: int(v) if k == 'step' else float(v) for k, v in row.items() if v != ''}
    for row in _parse(pathlib.Path(path))[1]
  ]


def _append_whole(path: pathlib.Path, text: str) -> None:
  """Append in one piece; where that fails, the file is as before."""
  content = text.encode()
  with open(path, 'ab', buffering=0) as f:
    size = f.seek(0, os.SEEK_END)
    try:
      if f.write(content) < len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
      f.truncate(size)
      raise


def _format(
  columns: Sequence[str],
  rows: Sequence[Mapping[str, str]],
  header: bool = False,
) -> str:
  text = io.StringIO()
  writer = csv.DictWriter(text, columns, lineterminator='\n')
  if header:
    writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def _parse(
  path: pathlib.Path,
) -> tuple[list[str], list[dict[str, str]], int]:
  """Return columns, rows, and the number of lines that are not whole."""
  if not path.exists():
    return [], [], 0
  *lines, rest = path.read_text(errors='replace').split('\n')
  torn = int(rest != '')
  columns, *rows = csv.reader(lines) if lines else [[]]
  if lines and columns[:1] != ['step']:
    raise UserError(f'{path} is not a metrics log: move it away')
  whole = [row for row in rows if _is_row(row, len(columns))]
  torn += len(rows) - len(whole)
  return columns, [dict(zip(columns, r, strict=True)) for r in whole], torn


def _is_row(row: Sequence[str], width: int) -> bool:
  try:
    int(row[0])
    return len([float(x or 'nan') for x in row]) == width
  except (ValueError, IndexError):
    return False
