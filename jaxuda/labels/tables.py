"""Class tables: TOML files in which classes have names, colours and ids.

  classes = [
    { name = "water", color = [0, 80, 200], id = 1 },
    { name = "quay", id = 2, from = { cityscapes19 = ["sidewalk", "wall"] } },
  ]
  void = { unlabelled = 0, "own boat" = 255 }  # ids that are of no class
  things = ["boat"]        # of the classes: those that have instances
  means = [[], ["quay"]]   # what each reported mean leaves out

A class without a colour gets one; `void = [0, 255]` does without names. `from`
names the classes of another table that count as this class where a network that
predicts those is scored on this table; `into` the one that this class's labels
train such a network on. Where neither is said, equal names are equal classes.
The tables in this folder have ids of several label encodings, by their names. A
table with `of` has the classes of another one `without` some.
"""

import dataclasses
import difflib
import functools
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any

from jaxuda.labels import rows
from jaxuda.labels.rows import Class
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

FOLDER = pathlib.Path(__file__).parent
SUFFIX = '.toml'
MOST_CLASSES = 255
KEYS = ('classes', 'void', 'things', 'means')
_OTHERS = ('of', 'without', 'splits', 'encoding')  # keys of own data, too


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
  """A class table.

  Attributes:
    name: the file's, without its ending.
    classes: in the order of their indices.
    void: encoding -> ids that may stand in label files and are of no class,
      with their names.
    things: names of the classes that have instances.
    means: what each mean leaves out, by name.
    of: the table whose classes these are, itself where they are its own.
  """

  name: str
  classes: tuple[Class, ...]
  void: Mapping[str, Mapping[int, str]]
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


def check_keys(content: Mapping[str, Any], path: pathlib.Path) -> None:
  """Raise UserError where a file has a key that none may have."""
  known = (*KEYS, *_OTHERS)
  for key in content:
    near = nearest(key, known)
    rows.require(path, key in known, f'{key!r} is no key{near}')


def parse(content: Mapping[str, Any], path: pathlib.Path) -> Table:
  """Return the table of what a file says, which may describe data, too.

  Raises:
    UserError: something is wrong in it.
  """
  check_keys(content, path)
  if 'of' in content:
    return _without(content, path)
  check = functools.partial(rows.require, path)
  if 'classes' not in content and 'encoding' in content:
    check(False, f'its classes are those of {content["encoding"]}: name that')
  listed = content.get('classes', [])
  check(
    isinstance(listed, list)
    and listed
    and all(isinstance(row, dict) for row in listed),
    'classes must be a list of { name = "…", id = … }',
  )
  check(len(listed) <= MOST_CLASSES, f'has more than {MOST_CLASSES} classes')
  classes = tuple(rows.parse(row, i, path) for i, row in enumerate(listed))
  names = [c.name for c in classes]
  again = rows.twice(names)
  check(again is None, f'names a class twice: {again!r}')
  again = rows.twice([c.color for c in classes])
  check(again is None, f'gives two classes the color {again}')
  for encoding in classes[0].ids:
    ids = [c.ids.get(encoding) for c in classes]
    check(None not in ids, f'has a class without an id of {encoding}')
    again = rows.twice(ids)
    check(again is None, f'gives two classes the id {again}')
  for each in classes:
    _check_others(each, path)
  _check_counted_once(classes, path)
  return Table(
    path.stem,
    classes,
    rows.void(content.get('void'), classes, path),
    rows.chosen(content.get('things', []), 'things', names, path),
    _means(content.get('means', [[]]), names, path),
  )


def _means(listed, names, path):
  """Return what each mean leaves out; they are told by how many classes."""
  check = functools.partial(rows.require, path)
  check(isinstance(listed, list) and listed, 'means must be a list of lists')
  means = tuple(rows.chosen(each, 'means', names, path) for each in listed)
  again = rows.twice([len(names) - len({*each}) for each in means])
  check(
    again is None,
    f'two means are of {again} classes, and both would be called mIoU-{again}',
  )
  return means


def _check_others(each, path):
  """Check the other tables that a class names, and classes of this folder's."""
  named = {other: [name] for other, name in each.reads_as.items()}
  for group in (each.counts, named):
    for other, names in group.items():
      where = f'class {each.name!r}, of {other}'
      if other in built_in():
        rows.chosen(list(names), where, load(other).names, path)
        continue
      # Any other name may be that of a user's own table.
      for near in difflib.get_close_matches(other, built_in(), 1, 0.85):
        rows.require(path, False, f'{where}: did you mean {near!r}?')


def _check_counted_once(classes, path):
  """Refuse a class of another table that counts as two of this one."""
  counted = [
    (other, name)
    for each in classes
    for other, names in each.counts.items()
    for name in names
  ]
  again = rows.twice(counted)
  rows.require(path, again is None, f'`from` names a class twice: {again}')


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
  whole = load(str(content['of']))
  named = content.get('without', [])
  cut = without(whole, rows.chosen(named, 'without', whole.names, path))
  means = tuple(map(tuple, content.get('means', [[]])))
  return dataclasses.replace(cut, name=path.stem, means=means)
