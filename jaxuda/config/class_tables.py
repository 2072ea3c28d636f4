"""Copies of users' own class tables in a run's folder.

`tables/classes/NAME.toml` and `tables/eval.classes/NAME.toml`: what the keys of
the config name. What is done with a run is done with these, wherever the run
lies and whatever has become of the files.
"""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jaxuda.labels import tables
from jaxuda.utils import files
from jaxuda.utils.console import print_once
from jaxuda.utils.errors import UserError

FOLDER = 'tables'  # in a run's folder
KEYS = ('classes', 'eval.classes')  # of a config, that may name a table


class _Pair(NamedTuple):
  """A table that a config names, and its copy, which may not be there."""

  key: str
  table: pathlib.Path
  copy: pathlib.Path


def keep(workdir: pathlib.Path, flat: Mapping[str, Any]) -> None:
  """Copy the tables that a run's config names, unless that is done.

  Args:
    workdir: the run's folder.
    flat: its config, dots for levels.

  Raises:
    UserError: one is not there, is none, or the copy cannot be written.
  """
  for _, table, copy in _pairs(workdir, flat):
    if not copy.is_file():
      tables.load(str(table))
      files.write_text(copy, table.read_text('utf-8'))


def check(workdir: pathlib.Path, flat: Mapping[str, Any]) -> None:
  """Refuse to go on where a table says something else than its copy.

  Raises:
    UserError: one does, or cannot be read.
  """
  for _, table, copy in _pairs(workdir, flat):
    if copy.is_file() and _classes(table) != _classes(copy):
      raise UserError(
        f'{table} is not what it was when {workdir} was started, of which '
        f'{copy} is a copy: put that back, or give another --workdir.'
      )


def kept(workdir: pathlib.Path, flat: Mapping[str, Any]) -> dict[str, str]:
  """Return {key: path of the copy}; print where the table has changed."""
  found = {}
  for key, table, copy in _pairs(workdir, flat):
    if copy.is_file():
      found[key] = str(copy)
      if table.is_file() and _has_changed(table, copy):
        print_once(
          f'note: {table} has changed since; the classes are those of {copy}, '
          'its copy of when the run was started.'
        )
  return found


def _pairs(workdir, flat) -> Iterator[_Pair]:
  for key in KEYS:
    name = flat.get(key)
    if name and tables.is_file(name):
      table = pathlib.Path(name)
      yield _Pair(key, table, workdir / FOLDER / key / table.name)


def _classes(path):
  """Return what a file says of classes, whatever else stands there."""
  content = tables.read(path)
  return {key: content.get(key) for key in tables.KEYS}


def _has_changed(table, copy):
  try:
    return _classes(table) != _classes(copy)
  except UserError:  # it is not even a table any more
    return True
