"""Class tables: TOML files in which classes have names, colours and ids.

  classes = [
    { name = "water", color = [0, 80, 200], id = 1 },
    { name = "quay", id = 2, from = { cityscapes19 = ["road", "sidewalk"] } },
  ]
  void = [0, 255]          # ids of label files that are of no class
  things = ["boat"]        # of the classes: those that have instances
  means = [[], ["quay"]]   # what each reported mean leaves out

A class without a colour gets one. `from` names the classes of another table
that count as this class where a network that predicts those is scored on this
table; `into` the one that this class's labels train such a network on. Where a
table says neither of another one, equal names are equal classes. The tables in
this folder have ids of several label encodings, by their names. A table with
`of` has the classes of another one `without` some.
"""

import colorsys
import dataclasses
import functools
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

FOLDER = pathlib.Path(__file__).parent
SUFFIX = '.toml'
OWN = 'own'  # the encoding of a table whose classes have one `id`
MOST_CLASSES = 255
KEYS = ('classes', 'void', 'things', 'means')
_CLASS_KEYS = ('name', 'color', 'id', 'ids', 'from', 'into')


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


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
  """A class table.

  Attributes:
    name: the file's, without its ending.
    classes: in the order of their indices.
    void: encoding -> ids that may stand in label files and are of no class.
    things: names of the classes that have instances.
    means: what each mean leaves out, by name.
    of: the table whose classes these are, itself where they are its own.
  """

  name: str
  classes: tuple[Class, ...]
  void: Mapping[str, frozenset[int]]
  things: tuple[str, ...]
  means: tuple[tuple[str, ...], ...]
  of: 'Table | None' = None

  @property
  def root(self) -> 'Table':
    """The table whose own the classes are."""
    return self.of or self

  @property
  def names(self) -> list[str]:
    """The names of the classes, in order."""
    return [c.name for c in self.classes]

  @property
  def encodings(self) -> tuple[str, ...]:
    """The encodings of which it has ids, its own first."""
    return tuple(self.root.classes[0].ids)


def built_in() -> tuple[str, ...]:
  """Return the names of the tables in this folder, the 19 classes first."""
  found = sorted(path.stem for path in FOLDER.glob(f'*{SUFFIX}'))
  return tuple(sorted(found, key=lambda name: name != 'cityscapes19'))


def is_file(name: str) -> bool:
  """Return whether a name is the path of a table, and none of this folder's."""
  return str(name).endswith(SUFFIX)


def load(name: str) -> Table:
  """Return the table of a name of this folder's, or of a path.

  Raises:
    UserError: there is none, or something is wrong in it; says what and where.
  """
  if not is_file(name):
    return _load(FOLDER / f'{name}{SUFFIX}', 0)
  path = pathlib.Path(name).expanduser()
  return _load(path, stamp(path))


def stamp(path: pathlib.Path) -> int:
  """Return when a file was last changed, in nanoseconds.

  Raises:
    UserError: it is not there.
  """
  try:
    return path.stat().st_mtime_ns
  except OSError as e:
    raise UserError(f'{path} is not there ({e.strerror}).') from e


@functools.cache
def _load(path, changed):
  del changed  # a file that was changed is read again
  return parse(read(path), path)


def read(path: pathlib.Path) -> dict[str, Any]:
  """Return what a TOML file says.

  Raises:
    UserError: it cannot be read, or is no TOML.
  """
  try:
    return tomllib.loads(path.read_text('utf-8'))
  except (OSError, ValueError) as e:  # also TOMLDecodeError, UnicodeDecodeError
    raise UserError(f'{path} cannot be read: {e}') from e


def parse(content: Mapping[str, Any], path: pathlib.Path) -> Table:
  """Return the table of what a file says; keys that are not its own are none.

  Raises:
    UserError: something is wrong in it.
  """
  if 'of' in content:
    return _without(content, path)
  check = functools.partial(_check, path)
  rows = content.get('classes', [])
  check(
    isinstance(rows, list) and rows and all(isinstance(r, dict) for r in rows),
    'classes must be a list of { name = "…", id = … }',
  )
  check(len(rows) <= MOST_CLASSES, f'has more than {MOST_CLASSES} classes')
  classes = tuple(_class(row, i, path) for i, row in enumerate(rows))
  names = [c.name for c in classes]
  check(len({*names}) == len(names), f'names a class twice: {_twice(names)!r}')
  for encoding in classes[0].ids:
    ids = [c.ids.get(encoding) for c in classes]
    check(None not in ids, f'has a class without an id of {encoding}')
    check(len({*ids}) == len(ids), f'gives two classes the id {_twice(ids)}')
  return Table(
    path.stem,
    classes,
    _void(content.get('void'), classes, path),
    _names(content, 'things', names, path),
    tuple(
      _chosen(left_out, 'means', names, path)
      for left_out in content.get('means', [[]])
    ),
  )


def without(table: Table, names: tuple[str, ...]) -> Table:
  """Return a table without some of its classes, each of which it has."""
  return dataclasses.replace(
    table,
    classes=tuple(c for c in table.classes if c.name not in names),
    things=tuple(name for name in table.things if name not in names),
    means=tuple(
      tuple(name for name in left_out if name not in names)
      for left_out in table.means
    ),
    of=table.root,
  )


def _without(content, path):
  """Return a table of this folder that has another one's classes."""
  whole = load(content['of'])
  cut = without(whole, tuple(content['without']))
  means = tuple(map(tuple, content.get('means', [[]])))
  return dataclasses.replace(cut, name=path.stem, means=means)


def _class(row, index, path):
  """Return the class of a row, whose values are checked."""
  check = functools.partial(_check, path)
  name = row.get('name')
  where = f'class {name!r}' if name else f'class {index}'
  for key in row:
    check(
      key in _CLASS_KEYS,
      f'{where} has {key!r}, which is no key{nearest(key, _CLASS_KEYS)}',
    )
  check(isinstance(name, str) and name.strip(), f'{where} has no name')
  color = row.get('color', _color(index))
  check(
    isinstance(color, list | tuple)
    and len(color) == 3
    and all(map(_byte, color)),
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
  for other, named in (
    *counts.items(),
    *((k, [v]) for k, v in reads_as.items()),
  ):
    if other in built_in():
      _chosen(named, f'{where}, of {other}', load(other).names, path)
  counts = {other: tuple(named) for other, named in counts.items()}
  return Class(name, tuple(color), ids, counts, reads_as)


def _void(content, classes, path):
  """Return each encoding's void ids; if none, the last one that is free."""
  encodings = tuple(classes[0].ids)
  if not isinstance(content, dict):
    content = {OWN: [] if content is None else content}
  found = {}
  for encoding in encodings:
    ids = content.get(encoding, [])
    _check(
      path,
      isinstance(ids, list) and all(map(_byte, ids)),
      'void must be a list of numbers from 0 to 255',
    )
    taken = {c.ids[encoding]: c.name for c in classes}
    for i in ids:
      _check(path, i not in taken, f'{i} is void and {taken.get(i)!r}')
    # Ignored pixels are stored as one of them.
    free = (i for i in range(255, -1, -1) if i not in taken)
    found[encoding] = frozenset(ids or [next(free)])
  return found


def _names(content, key, known, path):
  return _chosen(content.get(key, []), key, known, path)


def _chosen(named, key, known, path):
  """Return names, each of which must be known."""
  _check(path, isinstance(named, list), f'{key} must be a list of names')
  for name in named:
    _check(
      path,
      name in known,
      f'{key}: {name!r} is not a class{nearest(str(name), known)}',
    )
  return tuple(named)


def _check(path, good, fault):
  if not good:
    raise UserError(f'{path}: {fault.rstrip(".")}.')


def _byte(value):
  return type(value) is int and 0 <= value <= 255


def _twice(values):
  return next((v for i, v in enumerate(values) if v in values[:i]), None)


def _color(index):
  """Return a colour that differs from those of the other indices."""
  turn = index * 0.618034 % 1  # the golden ratio spreads any number of hues
  light = (0.95, 0.7, 0.5)[index % 3]
  return tuple(round(255 * v) for v in colorsys.hsv_to_rgb(turn, 0.75, light))
