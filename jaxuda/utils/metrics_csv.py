"""A run's log of metrics: one row per logged step, appended as it trains.

Its last column is a crc32 of the header, of the row, and of the crc32 of the
row before, so that no changed, lost or repeated row is taken for a logged one.
"""

import csv
import errno
import io
import os
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from absl import logging

from jaxuda.utils import files, sealed
from jaxuda.utils.errors import UserError

_MOST_BYTES = 2**30  # a row for each of 150,000 steps takes a tenth


class MetricsCsv:
  """An append-only csv log: a row for each call, a column for each name.

  A killed process leaves at most one half-written line, which the next one
  drops before it writes. Damaged rows are set aside with the whole file, and
  the others go on in a new one. A full disk costs a warning: rows wait in
  memory until they can be written.

  Attributes:
    path: of the file; made at the first row.
  """

  def __init__(self, path: str | pathlib.Path):
    """Write nothing yet."""
    self.path = pathlib.Path(path)
    self._last = ''  # the crc32 of the last row that is written
    self._columns: list[str] | None = None
    self._waiting: list[dict[str, str]] = []

  @property
  def waiting(self) -> int:
    """How many rows could not be written so far."""
    return len(self._waiting)

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
      self._write_whole(self._columns, kept)

  def _load(self) -> list[dict[str, str]]:
    """Return the rows on disk, in a file that has them and nothing else."""
    found = _parse(self.path)
    self._columns, self._last = found.columns, found.last
    if found.damaged:
      moved = files.set_aside(self.path)
      logging.warning(
        '%s: %d damaged row(s), of which line %d is the first, are left out; '
        'the file as it was is %s now',
        self.path,
        len(found.damaged),
        found.damaged[0],
        moved.name,
      )
    elif found.torn:
      logging.warning('%s: dropped a half-written line', self.path)
    if found.damaged or found.torn:
      self._write_whole(found.columns, found.rows)
    return found.rows

  def _flush(self) -> None:
    """Write the waiting rows, all or none of them."""
    if self._columns is None:
      self._load()
    names = dict.fromkeys(name for row in self._waiting for name in row)
    columns = list(dict.fromkeys([*self._columns, *names]))
    if columns != self._columns or not self.path.exists():
      self._write_whole(columns, _parse(self.path).rows + self._waiting)
    else:
      text, last = _format(columns, self._waiting, self._last)
      _append_whole(self.path, text)
      self._last = last
    self._waiting = []

  def _write_whole(self, columns, rows):
    text, last = _format(columns, rows, '')
    if columns:
      files.write_text(self.path, _join([*columns, sealed.KEY]) + '\n' + text)
    else:
      self.path.unlink(missing_ok=True)
    self._columns, self._last = columns, last


def read_metrics(path: str | pathlib.Path) -> list[dict[str, float]]:
  """Return the rows of a metrics.csv, in order; none where there is no file.

  What a running training has half written is left out.

  Returns:
    [{'step': 100, 'loss': 0.5}, ...]: the step an int, the others floats,
    empty fields left out.

  Raises:
    UserError: it is damaged; names the line.
  """
  found = _parse(pathlib.Path(path))
  if found.damaged:
    raise UserError(
      f'{path} is damaged: line {found.damaged[0]} is not what was written, or '
      'the one before it is gone. Put a copy of the file back; a training that '
      'goes on leaves such rows out.'
    )
  return [
    {k: int(v) if k == 'step' else float(v) for k, v in row.items() if v != ''}
    for row in found.rows
  ]


def is_torn(path: str | pathlib.Path) -> bool:
  """Return whether its last line has no end, as of a run that is writing it."""
  return _parse(pathlib.Path(path)).torn


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
  columns: Sequence[str], rows: Sequence[Mapping[str, str]], last: str
) -> tuple[str, str]:
  """Return rows as text, and the crc32 of the last one.

  Args:
    columns: of the file, but for the last one.
    rows: of some of them.
    last: the crc32 of the row before.
  """
  header, lines = _join(columns), []
  for row in rows:
    body = _join([row.get(name, '') for name in columns])
    last = _crc32(header, body, last)
    lines.append(f'{body},{last}\n')
  return ''.join(lines), last


def _join(fields: Sequence[str]) -> str:
  text = io.StringIO()
  csv.writer(text, lineterminator='').writerow(fields)
  return text.getvalue()


def _crc32(header: str, body: str, last: str) -> str:
  return f'{zlib.crc32(f"{last}|{header}|{body}".encode()):08x}'


class _Parsed(NamedTuple):
  """What a file has.

  Attributes:
    columns: but for that of the crc32.
    rows: the whole ones.
    damaged: numbers of lines whose crc32 is another one, from 1.
    torn: whether its last line has no end.
    last: the crc32 of the last whole row.
  """

  columns: list[str]
  rows: list[dict[str, str]]
  damaged: list[int]
  torn: bool
  last: str


def _parse(path: pathlib.Path) -> _Parsed:
  if not path.exists():
    return _Parsed([], [], [], False, '')
  header, *lines = _text(path).split('\n')
  torn = bool(lines[-1] if lines else header)
  header, is_ours, rest = header.rpartition(f',{sealed.KEY}')
  if lines and not (is_ours and not rest and header.startswith('step')):
    raise UserError(
      f'{path} is damaged, or no metrics log: its first line is none of a log. '
      'Move it away.'
    )
  columns = next(csv.reader([header]), []) if lines else []
  rows, damaged, last = [], [], ''
  for number, line in enumerate(lines[:-1], 2):
    body, _, crc32 = line.rpartition(',')
    if crc32 == _crc32(header, body, last):
      fields = next(csv.reader([body]))
      rows.append(dict(zip(columns, fields, strict=True)))
    else:
      damaged.append(number)
    last = crc32
  return _Parsed(columns, rows, damaged, torn, last)


def _text(path):
  """Return a file's text; what is no text fits no crc32."""
  try:
    with path.open('rb') as file:
      data = file.read(_MOST_BYTES + 1)
  except OSError as e:
    raise UserError(f'{path} cannot be read ({e.strerror}).') from None
  if len(data) > _MOST_BYTES:
    raise UserError(
      f'{path} has more than {_MOST_BYTES:,} bytes: it is no metrics log.'
    )
  return data.decode(errors='replace')
