"""What stands in a class table, checked: its classes, and ids of no class."""

import colorsys
import functools
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

OWN = 'own'  # the encoding of a table whose classes have one `id`
_KEYS = ('name', 'color', 'id', 'ids', 'from', 'into')


class Class(NamedTuple):
  """One class of a table.

  Attributes:
    name: of the class.
    color: RGB.
    ids: encoding -> id in label files.
    counts: another table's name -> those of its classes that count as this one.
    reads_as: another table's name -> its class that this one's labels are.
  """

  name: str
  color: tuple[int, int, int]
  ids: Mapping[str, int]
  counts: Mapping[str, tuple[str, ...]]
  reads_as: Mapping[str, str]


def parse(row: Mapping[str, Any], index: int, path: pathlib.Path) -> Class:
  """Return the class of a row.

  Args:
    row: one of `classes`.
    index: of the class.
    path: of the file, for messages.

  Raises:
    UserError: a value is missing, or is none that it can be.
  """
  check = functools.partial(require, path)
  name: Any = row.get('name')
  where = f'class {name!r}' if name else f'class {index}'
  for key in row:
    check(
      key in _KEYS, f'{where} has {key!r}, which is no key{nearest(key, _KEYS)}'
    )
  check(isinstance(name, str) and name.strip(), f'{where} has no name')
  _check_name(name, where, path)
  rgb = row.get('color', color(index))
  check(
    isinstance(rgb, list | tuple) and len(rgb) == 3 and all(map(_byte, rgb)),
    f'{where}: color must be three numbers from 0 to 255',
  )
  ids = row.get('ids', {OWN: row.get('id')})
  check(
    isinstance(ids, dict) and ids and all(map(_byte, ids.values())),
    f'{where}: id must be a number from 0 to 255',
  )
  counts, reads_as = row.get('from', {}), row.get('into', {})
  check(
    isinstance(counts, dict)
    and all(isinstance(v, list) for v in counts.values()),
    f'{where}: from must be {{ TABLE = ["class", …] }}',
  )
  check(
    isinstance(reads_as, dict)
    and all(isinstance(v, str) for v in reads_as.values()),
    f'{where}: into must be {{ TABLE = "class" }}',
  )
  counts = {other: tuple(named) for other, named in counts.items()}
  return Class(name, tuple(rgb), ids, counts, reads_as)


def void(
  content: Any, classes: tuple[Class, ...], path: pathlib.Path
) -> dict[str, dict[int, str]]:
  """Return each encoding's ids of no class, with their names.

  Where there is none, it is the last id that is free: ignored pixels are
  stored as one of them.

  Args:
    content: of `void`: a list of ids, or {name: id}; where classes have `ids`,
      that of each encoding.
    classes: of the table.
    path: of the file, for messages.

  Raises:
    UserError: an id is no id, or a class has it or its name.
  """
  encodings = tuple(classes[0].ids)
  if encodings == (OWN,):
    content = {OWN: content}
  given = content or {}
  require(
    path,
    isinstance(given, dict) and given.keys() <= {*encodings},
    f'void must be {{ ENCODING = … }}, of {", ".join(encodings)}, as the '
    'classes have `ids`',
  )
  return {
    encoding: _void(given.get(encoding) or [], encoding, classes, path)
    for encoding in encodings
  }


def _void(given, encoding, classes, path):
  check = functools.partial(require, path)
  named = given
  if isinstance(given, list):
    named = {f'void {i}': i for i in given}
  check(
    isinstance(named, dict) and all(map(_byte, named.values())),
    'void must be a list of numbers from 0 to 255, or { "name" = number, … }',
  )
  taken = {c.ids[encoding]: c.name for c in classes}
  for name, i in named.items():
    _check_name(name, f'void {name!r}', path)
    check(i not in taken, f'{i} is void and {taken.get(i)!r}')
    check(name not in taken.values(), f'{name!r} is a class and void')
  ids = [*named.values()]
  check(len({*ids}) == len(ids), f'void names the id {twice(ids)} twice')
  if not named:
    free = next(i for i in range(255, -1, -1) if i not in taken)
    named = {f'void {free}': free}
  return {i: name for name, i in named.items()}


def color(index: int) -> tuple[int, ...]:
  """Return a colour, RGB, that differs from those of the other indices."""
  turn = index * 0.618034 % 1  # the golden ratio spreads any number of hues
  light = (0.95, 0.7, 0.5)[index % 3]
  return tuple(round(255 * v) for v in colorsys.hsv_to_rgb(turn, 0.75, light))


def chosen(
  named: Any, where: str, known: list[str], path: pathlib.Path
) -> tuple[str, ...]:
  """Return a list of names, each of which must be known.

  Args:
    named: the list.
    where: names it in messages.
    known: the names of classes.
    path: of the file.

  Raises:
    UserError: it is no list, or has another name.
  """
  require(path, isinstance(named, list), f'{where} must be a list of names')
  for name in named:
    near = nearest(str(name), known)
    require(path, name in known, f'{where}: {name!r} is not a class{near}')
  return tuple(named)


def require(path: pathlib.Path, good: Any, fault: str) -> None:
  """Raise UserError, a file and what is wrong in it, unless it is good."""
  if not good:
    raise UserError(f'{path}: {fault.rstrip(".")}.')


def twice(values: list) -> Any:
  """Return the first value that stands there twice, None if there is none."""
  return next((v for i, v in enumerate(values) if v in values[:i]), None)


def _check_name(name, where, path):
  # TFDS keeps names as lines of a file.
  plain = len(name.splitlines()) == 1 and name == name.strip()
  require(path, plain, f'{where}: a name is one line without blanks around it')


def _byte(value):
  return type(value) is int and 0 <= value <= 255
