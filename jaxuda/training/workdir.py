"""A run's folder: its config, its lock, its log of metrics.

config.json   the config of the run; a later start is compared with it
metrics.csv   one row a logged step
.lock         held by the process that trains here
"""

import contextlib
import csv
import errno
import io
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from jaxuda.config import loading as config_lib
from jaxuda.utils import files, lock
from jaxuda.utils.errors import UserError


@contextlib.contextmanager
def open_workdir(
  path: str | pathlib.Path, config: Mapping[str, Any]
) -> Iterator[bool]:
  """Takes a run's folder: `with open_workdir(path, config) as resumed:`.

  Every process of a run calls it; the first one does the work.

  Args:
    path: created with its parents if need be.
    config: nested, JSON-able; stored as config.json, and brought up to date
      where it may change.

  Yields:
    Whether the folder already held a run of this config.

  Raises:
    UserError: the folder cannot be written, is in use by another run, or
      holds a run of another config.
  """
  path = pathlib.Path(path)
  with contextlib.ExitStack() as stack:
    resumed = False
    if jax.process_index() == 0:
      stack.enter_context(_locked(path))
      resumed = _store_config(path, config)
    if jax.process_count() > 1:
      resumed = multihost_utils.broadcast_one_to_all(np.array(resumed))
    yield bool(resumed)


class MetricsCsv:
  """An append-only csv log: a row a call, a column a name.

  A killed process leaves at most one half-written line, which the next one
  drops before it writes. A full disk costs a warning: rows wait in memory
  until they can be written.

  Attributes:
    path: of the file; made at the first row.
  """

  def __init__(self, path: str | pathlib.Path):
    """Writes nothing yet."""
    self.path = pathlib.Path(path)
    self._columns: list[str] | None = None
    self._waiting: list[dict[str, str]] = []

  def append(self, step: int, values: Mapping[str, float | None]) -> None:
    """Appends a row; a new name becomes a new column.

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
    """Writes the rows that wait, if any; warns of those that cannot be."""
    if not self._waiting:
      return
    try:
      self._flush()
    except (OSError, UserError) as e:
      count = len(self._waiting)
      logging.warning('%s: %d row(s) wait (%s)', self.path, count, e)

  def truncate(self, step: int) -> None:
    """Drops the rows after a step, which a resumed run will write again.

    None is lost or repeated if a step's rows are written before its
    checkpoint. Step -1 drops all.
    """
    rows = self._load()
    kept = [row for row in rows if int(row['step']) <= step]
    if len(kept) < len(rows):
      files.write_text(self.path, _format(self._columns, kept, True))

  def _load(self) -> list[dict[str, str]]:
    """The rows on disk, cleared of half-written lines."""
    self._columns, rows, torn = _parse(self.path)
    if torn:
      logging.warning('%s: dropped %d half-written line', self.path, torn)
      if self._columns:
        files.write_text(self.path, _format(self._columns, rows, True))
      else:
        self.path.unlink()
    return rows

  def _flush(self) -> None:
    """Writes the waiting rows, all or none of them."""
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
  """The rows of a metrics.csv, in order; none where there is no file.

  Returns:
    [{'step': 100, 'loss': 0.5}, ...]: the step an int, the others floats,
    empty fields left out.
  """
  return [
    {k: int(v) if k == 'step' else float(v) for k, v in row.items() if v != ''}
    for row in _parse(pathlib.Path(path))[1]
  ]


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  """Make and hold a folder; the system frees it however the process ends."""
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(lock.hold(path / '.lock'))
    except lock.HeldError as e:
      raise UserError(
        f'{path} is in use by process {e}: stop it, wait for it, or give '
        'another --workdir'
      ) from None
    except OSError as e:
      raise UserError(
        f'cannot write to the workdir {path} ({e.strerror}): give another one '
        'with --workdir=DIR'
      ) from None
    yield


def _store_config(path: pathlib.Path, config: Mapping[str, Any]) -> bool:
  """Write config.json, or compare with it; return whether it was there."""
  resumed = check_config(path, config)
  files.write_json(path / 'config.json', config)
  return resumed


def check_config(
  path: str | pathlib.Path,
  config: Mapping[str, Any],
  may_change: Sequence[str] = (),
) -> bool:
  """Return whether a folder holds a run of this config; change nothing.

  Args:
    path: of the folder.
    config: nested, JSON-able.
    may_change: keys that may differ, beyond config.MAY_CHANGE_ON_RESUME; a key
      stands for all keys below it.

  Raises:
    UserError: it holds a run of another config, or nobody knows of which.
  """
  file = pathlib.Path(path) / 'config.json'
  try:
    stored = config_lib.flatten(json.loads(file.read_text()))
  except (FileNotFoundError, NotADirectoryError):
    if any(file.parent.glob('checkpoints/*')):
      raise UserError(
        f'{path} holds checkpoints but no config.json, so nobody knows what '
        'made them: give another --workdir'
      ) from None
    return False
  except (OSError, ValueError, AttributeError) as e:
    raise UserError(
      f'{file} is damaged ({e}): give another --workdir'
    ) from None
  # As they are stored: tuples become lists.
  given = config_lib.flatten(json.loads(json.dumps(config)))
  lines = []
  for key in dict.fromkeys([*stored, *given]):
    sides = [
      json.dumps(side[key]) if key in side else 'absent'
      for side in (stored, given)
    ]
    if sides[0] != sides[1] and not config_lib.may_change(key, may_change):
      lines.append(f'  {key}: {sides[0]} -> {sides[1]}')
  if lines:
    raise UserError(
      f'{path} holds a run of another config (stored -> given):\n'
      + '\n'.join(lines)
      + '\ngive another --workdir, or the stored values'
    )
  return True


def _append_whole(path: pathlib.Path, text: str) -> None:
  """Appends in one piece; where that fails, the file is as before."""
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
  """Columns, rows, and the number of lines that are not whole."""
  if not path.exists():
    return [], [], 0
  *lines, rest = path.read_text(errors='replace').split('\n')
  torn = int(rest != '')
  columns, *rows = csv.reader(lines) if lines else [[]]
  if lines and columns[:1] != ['step']:
    raise UserError(f'{path} is no log of metrics: move it away')
  whole = [row for row in rows if _is_row(row, len(columns))]
  torn += len(rows) - len(whole)
  return columns, [dict(zip(columns, r, strict=True)) for r in whole], torn


def _is_row(row: Sequence[str], width: int) -> bool:
  try:
    int(row[0])
    return len([float(x or 'nan') for x in row]) == width
  except (ValueError, IndexError):
    return False
