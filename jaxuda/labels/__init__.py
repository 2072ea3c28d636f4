"""Names, colours, label ids, class spaces and merges: all from class tables.

A *class space* is what a model predicts and a metric counts: an ordered list of
classes with indices 0..C-1. An *encoding* is the numbering that a dataset's
label files use. Both come from the class tables (tables.py): those beside this
file, by their names, and users' own, by their paths, 'harbour.toml'. No code
knows an id, a colour or a class subset.

A space is one of `SPACES`, or one of them without some of its classes, which
are background then: 'cityscapes19-building-traffic_light'; or the path of a
table.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxuda.labels import rows, tables
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

IGNORE = 255
SPACES = tables.built_in()
# Of label files, each with the table that has its ids.
_TABLES = {
  encoding: name
  for name in SPACES
  if tables.load(name).of is None
  for encoding in tables.load(name).encodings
}
ENCODINGS = tuple(_TABLES)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSpace:
  """A class space.

  Attributes:
    name: 'cityscapes19', or 'cityscapes19-sky' without one of its classes, or
      the path of a table.
    classes: the C class names, in index order.
    colors: u8[C, 3] RGB.
    subsets: the means that are reported: name -> class indices.
    things: names of the classes that have instances.
  """

  name: str
  classes: tuple[str, ...]
  colors: np.ndarray
  subsets: dict[str, tuple[int, ...]]
  things: tuple[str, ...] = ()

  @property
  def title(self) -> str:
    """Its name, of a table its file's: 'harbour.toml', wherever that lies."""
    return pathlib.Path(self.name).name

  @property
  def identity(self) -> str:
    """What is equal for equal spaces, and shows how others differ."""
    if not tables.is_file(self.name):
      return self.name
    return f'{self.title}: {", ".join(self.classes)}'


def space(name: str) -> LabelSpace:
  """Return the class space called `name`.

  Raises:
    UserError: there is none, and names the nearest; or something is wrong in
      a table.
  """
  return _space(name, _table(name))


def recorded(title: str, classes: Iterable[str]) -> LabelSpace:
  """Return a space as a file of scores knows it.

  Of a user's own table, which need not be there, those are its classes alone.

  Args:
    title: the space's.
    classes: its classes, in order.

  Raises:
    UserError: there is no such space.
  """
  if not tables.is_file(title):
    return space(title)
  classes = tuple(classes)
  colors = np.array([rows.color(i) for i in range(len(classes))], np.uint8)
  return LabelSpace(title, classes, colors, {})


@functools.cache
def _space(name, table):
  colors = np.array([c.color for c in table.classes], np.uint8)
  colors.flags.writeable = False
  scored = [
    tuple(i for i, c in enumerate(table.names) if c not in left_out)
    for left_out in table.means
  ]
  if len(scored) == 1:
    subsets = {'mIoU': scored[0]}
  else:
    subsets = {f'mIoU-{len(indices)}': indices for indices in scored}
  return LabelSpace(name, tuple(table.names), colors, subsets, table.things)


def id_map(
  encoding: str, space: str, scored_in: str | None = None
) -> np.ndarray:
  """Return the table that maps the raw ids of a label file to class indices.

  Args:
    encoding: one of `ENCODINGS`, or the path of a table.
    space: name of the class space.
    scored_in: the class space, if another one, into which labels are merged
      together with predictions: a label then has a class that is merged into
      its own.

  Returns:
    u8[256]: raw id -> index in the space, `IGNORE` where there is none.
  """
  own, encoding = _of_encoding(encoding)
  to_space = _merge(own, _table(space))
  if scored_in is not None:
    to_space = _that_merge(to_space, own, _table(space), _table(scored_in))
  found = np.full(256, IGNORE, np.uint8)
  for row, index in zip(own.classes, to_space, strict=True):
    if index >= 0:
      found[row.ids[encoding]] = index
  return found


def _that_merge(to_space, own, table, scored):
  """Return indices that are merged to each class's own place, or -1."""
  merged, places = _merge(table, scored), _merge(own, scored)
  found = np.full_like(to_space, -1)
  for i, place in enumerate(places):
    candidates = np.flatnonzero((merged == place) & (place >= 0))
    if to_space[i] in candidates:
      found[i] = to_space[i]
    elif len(candidates):
      found[i] = candidates[0]
  return found


def stored_encoding(space: str) -> str:
  """Return the encoding in which class indices of a space go to a file."""
  if tables.is_file(space):
    return space
  return _table(space).encodings[0]


def stored_ids(space: str) -> np.ndarray:
  """Return the inverse of `id_map` for the space's `stored_encoding`.

  An id of no class stands for `IGNORE`.

  Returns:
    u8[256]: class index -> raw id.
  """
  table = _table(space)
  encoding = table.encodings[0]
  found = np.full(256, min(table.root.void[encoding]), np.uint8)
  ids = [c.ids[encoding] for c in table.classes]
  found[: len(ids)] = ids
  return found


def known_ids(encoding: str) -> frozenset[int]:
  """Return every id that a file of this encoding may hold, void ids too."""
  table, encoding = _of_encoding(encoding)
  return frozenset(table.void[encoding]) | {
    c.ids[encoding] for c in table.classes
  }


def id_names(encoding: str) -> tuple[str, ...]:
  """Return what each id of an encoding is called, from 0 to the largest."""
  table, encoding = _of_encoding(encoding)
  named = {c.ids[encoding]: c.name for c in table.classes}
  named |= table.void[encoding]
  return tuple(named.get(i, f'id {i}') for i in range(max(named) + 1))


def ids_of(encoding: str) -> dict[str, int]:
  """Return {class name: its id in a file of this encoding}."""
  table, encoding = _of_encoding(encoding)
  return {c.name: c.ids[encoding] for c in table.classes}


def all_classes(space: str) -> tuple[str, ...]:
  """Return the classes of a space, and those that are background in it."""
  return tuple(_table(space).root.names)


def merge(from_space: str, to_space: str) -> np.ndarray:
  """Return where each class of one space counts in another.

  Into camvid11, rider, motorcycle and bicycle count as bicyclist, traffic light
  as sign, terrain as tree, and truck, bus and train as car (camvid11.toml).

  Returns:
    i32[C_from]: index in `to_space`, -1 where the class has no place there
    (a wall in camvid11: an error wherever it is predicted).
  """
  return _merge(_table(from_space), _table(to_space))


def colorize(ids: np.ndarray, space: LabelSpace) -> np.ndarray:
  """Paint class indices u8[H, W] (255: black) as RGB u8[H, W, 3]."""
  palette = np.zeros((256, 3), np.uint8)
  palette[: len(space.colors)] = space.colors
  return palette[ids]


def describe(space: LabelSpace) -> dict[str, Any]:
  """Return what labels.json says of a class space, beside what is labelled.

  Of each class that is its index, which is predicted; and its id in label files
  of the table, which are another numbering.
  """
  ids = stored_ids(space.name).tolist()
  return {
    'class_space': space.title,
    'classes': [
      {'index': i, 'id': ids[i], 'name': name, 'color': color}
      for i, (name, color) in enumerate(
        zip(space.classes, space.colors.tolist(), strict=True)
      )
    ],
  }


def _table(name):
  """Return the table of a space, background classes left out."""
  if tables.is_file(name):
    return tables.load(name)
  base, *background = str(name).split('-')
  _check('class space', base, SPACES)
  table = tables.load(base)
  named = tuple(each.replace('_', ' ') for each in background)
  for each in named:
    _check(f'background class of {base}', each, table.names)
  return _cut(table, named) if named else table


@functools.cache
def _cut(table, named):
  return tables.without(table, named)


def _of_encoding(encoding):
  """Return the table that has an encoding's ids, and its name there."""
  if tables.is_file(encoding):
    table = tables.load(encoding)
    return table, table.encodings[0]
  _check('label encoding', encoding, ENCODINGS)
  return tables.load(_TABLES[encoding]), encoding


def _merge(from_table, to_table):
  """Return i32[C_from]: indices in the other table, or -1."""
  own, other = from_table.root, to_table.root
  # Equal names are equal classes, unless one of them says something else.
  place = {c.name: c.name for c in other.classes if own.name not in c.counts}
  for c in own.classes:
    if other.name in c.reads_as:
      place[c.name] = c.reads_as[other.name]
  for c in other.classes:
    place |= dict.fromkeys(c.counts.get(own.name, ()), c.name)
  order = {name: i for i, name in enumerate(to_table.names)}
  return np.array(
    [order.get(place.get(name), -1) for name in from_table.names], np.int32
  )


def _check(kind, name, valid):
  if name not in valid:
    raise UserError(f'there is no {kind} {name!r}{nearest(str(name), valid)}')
