"""The one class table: names, colours, label ids, class spaces and merges.

A *class space* is what a model predicts and a metric counts: an ordered list of
classes with indices 0..C-1. An *encoding* is the numbering that a dataset's
label files use. Everything here is derived from `CLASSES` and `CAMVID`; no
other file knows an id, a colour or a class subset.

A space is one of `SPACES`, or one of them without some of its classes, which
are background then: 'cityscapes19-building-traffic_light'.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

IGNORE = 255


class Class(NamedTuple):
  """One of the 19 Cityscapes classes; a tuple index is the train id."""

  name: str
  color: tuple[int, int, int]
  cityscapes: int  # id in gtFine labelIds, GTA5 and Cross-City label files
  synthia: int  # id in the SYNTHIA-RAND-CITYSCAPES label files
  camvid: str | None  # the CamVid class that it counts as; None: an error


# Names, ids and colours are those of the cityscapesScripts label table.
CLASSES = (
  Class('road', (128, 64, 128), 7, 3, 'road'),
  Class('sidewalk', (244, 35, 232), 8, 4, 'pavement'),
  Class('building', (70, 70, 70), 11, 2, 'building'),
  Class('wall', (102, 102, 156), 12, 21, None),
  Class('fence', (190, 153, 153), 13, 5, 'fence'),
  Class('pole', (153, 153, 153), 17, 7, 'pole'),
  Class('traffic light', (250, 170, 30), 19, 15, 'sign'),
  Class('traffic sign', (220, 220, 0), 20, 9, 'sign'),
  Class('vegetation', (107, 142, 35), 21, 6, 'tree'),
  Class('terrain', (152, 251, 152), 22, 16, 'tree'),
  Class('sky', (70, 130, 180), 23, 1, 'sky'),
  Class('person', (220, 20, 60), 24, 10, 'pedestrian'),
  Class('rider', (255, 0, 0), 25, 17, 'bicyclist'),
  Class('car', (0, 0, 142), 26, 8, 'car'),
  Class('truck', (0, 0, 70), 27, 18, 'car'),
  Class('bus', (0, 60, 100), 28, 19, 'car'),
  Class('train', (0, 80, 100), 31, 20, 'car'),
  Class('motorcycle', (0, 0, 230), 32, 12, 'bicyclist'),
  Class('bicycle', (119, 11, 32), 33, 11, 'bicyclist'),
)

# What has instances, traffic lights and signs among it: the classes at which
# DAFormer compares features (its dacs_a999_fd_things.py).
THINGS = (
  *('traffic light', 'traffic sign', 'person', 'rider', 'car', 'truck', 'bus'),
  *('train', 'motorcycle', 'bicycle'),
)

# The 11 classes of CamVid (SegNet's split) in the order of its label ids, each
# with the Cityscapes class that it is read as when it is a training label.
CAMVID = (
  ('sky', 'sky'),
  ('building', 'building'),
  ('pole', 'pole'),
  ('road', 'road'),
  ('pavement', 'sidewalk'),
  ('tree', 'vegetation'),
  ('sign', 'traffic sign'),
  ('fence', 'fence'),
  ('car', 'car'),
  ('pedestrian', 'person'),
  ('bicyclist', 'bicycle'),
)

# What SYNTHIA never shows, and what the 13-class comparisons leave out too.
NOT_IN_16 = ('terrain', 'truck', 'train')
NOT_IN_13 = (*NOT_IN_16, 'wall', 'fence', 'pole')

SPACES = (
  'cityscapes19',
  'synthia16',
  'crosscity13',
  'camvid11',
  # All 19, of which SYNTHIA's 16 and 13 are scored: BDL, evaluation.py.
  'synthia16in19',
)

# Every id that may stand in a label file, void ids included. 34 is the licence
# plate of GTA5; 255 is absent on purpose: it marks a file of train ids.
_KNOWN_IDS = {
  'cityscapes': frozenset(range(35)),
  'synthia': frozenset(range(23)),
  'camvid': frozenset(range(12)),
}
ENCODINGS = tuple(_KNOWN_IDS)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelSpace:
  """A class space.

  Attributes:
    name: 'cityscapes19', or 'cityscapes19-sky' without one of its classes.
    classes: the C class names, in index order.
    colors: u8[C, 3] RGB.
    subsets: the means that are reported: name -> class indices.
  """

  name: str
  classes: tuple[str, ...]
  colors: np.ndarray
  subsets: dict[str, tuple[int, ...]]


def space(name: str) -> LabelSpace:
  """Return the class space called `name`.

  Raises:
    UserError: there is none; names the nearest.
  """
  _check_space(name)
  return _space(name)


def id_map(encoding: str, space: str) -> np.ndarray:
  """Return the table that maps the raw ids of a label file to class indices.

  Args:
    encoding: one of `ENCODINGS`.
    space: name of the class space.

  Returns:
    u8[256]: raw id -> index in the space, `IGNORE` where there is none.
  """
  _check('label encoding', encoding, ENCODINGS)
  to_space = merge('cityscapes19', space)
  table = np.full(256, IGNORE, np.uint8)
  for raw, index in _raw_ids(encoding):
    if to_space[index] >= 0:
      table[raw] = to_space[index]
  return table


def stored_ids(space: str) -> np.ndarray:
  """Return the inverse of `id_map`, for class indices that go to a file.

  The ids are those of the 'cityscapes' encoding, which has one for every class
  of every space; 0 ('unlabeled' there) stands for `IGNORE`.

  Returns:
    u8[256]: class index -> raw id.
  """
  _check_space(space)
  table = np.zeros(256, np.uint8)
  for index, member in enumerate(_members(space)):
    table[index] = CLASSES[member].cityscapes
  return table


def known_ids(encoding: str) -> frozenset[int]:
  """Return every id that a file of this encoding may hold, void ids too."""
  _check('label encoding', encoding, ENCODINGS)
  return _KNOWN_IDS[encoding]


def merge(from_space: str, to_space: str) -> np.ndarray:
  """Return where each class of one space counts in another.

  Into camvid11, rider, motorcycle and bicycle count as bicyclist, traffic light
  as sign, terrain as tree, and truck, bus and train as car.

  Returns:
    i32[C_from]: index in `to_space`, -1 where the class has no place there
    (a wall in camvid11: an error wherever it is predicted).
  """
  _check_space(from_space)
  _check_space(to_space)
  target = _as_19(to_space)
  return np.array([target[i] for i in _members(from_space)], np.int32)


def colorize(ids: np.ndarray, space: str) -> np.ndarray:
  """Paint class indices u8[H, W] (255: black) as RGB u8[H, W, 3]."""
  _check_space(space)
  palette = np.zeros((256, 3), np.uint8)
  colors = _space(space).colors
  palette[: len(colors)] = colors
  return palette[ids]


def _check(kind, name, valid):
  if name not in valid:
    raise UserError(f'there is no {kind} {name!r}{nearest(str(name), valid)}')


def _check_space(name):
  base, *background = str(name).split('-')
  _check('class space', base, SPACES)
  known = _space(base).classes
  if background and base == 'camvid11':
    raise UserError(f'{name!r}: only spaces of Cityscapes classes can be cut.')
  for named in background:
    _check(f'background class of {base}', named.replace('_', ' '), known)


@functools.cache
def _space(name):
  members = [CLASSES[i] for i in _members(name)]
  classes = tuple(c.name for c in members)
  if name == 'camvid11':
    classes = tuple(camvid for camvid, _ in CAMVID)
  colors = np.array([c.color for c in members], np.uint8)
  colors.flags.writeable = False
  subsets = {'mIoU': tuple(range(len(classes)))}
  if name.startswith('synthia16'):
    scored = (
      tuple(i for i, c in enumerate(classes) if c not in absent)
      for absent in (NOT_IN_16, NOT_IN_13)
    )
    subsets = {f'mIoU-{len(indices)}': indices for indices in scored}
  return LabelSpace(name, classes, colors, subsets)


def _members(name):
  """List the 19-class index that stands for each class of a space, in order."""
  indices = {c.name: i for i, c in enumerate(CLASSES)}
  if name == 'camvid11':
    return [indices[cityscapes] for _, cityscapes in CAMVID]
  base, *background = name.split('-')
  left_out = {'synthia16': NOT_IN_16, 'crosscity13': NOT_IN_13}.get(base, ())
  absent = {*left_out, *(named.replace('_', ' ') for named in background)}
  return [i for c, i in indices.items() if c not in absent]


def _as_19(name):
  """List the index in a space of each of the 19 classes, or -1."""
  if name == 'camvid11':
    names = [camvid for camvid, _ in CAMVID]
    return [names.index(c.camvid) if c.camvid else -1 for c in CLASSES]
  order = {index: i for i, index in enumerate(_members(name))}
  return [order.get(i, -1) for i in range(len(CLASSES))]


def _raw_ids(encoding):
  """List the pairs (raw id, 19-class index) of an encoding."""
  if encoding == 'camvid':
    return list(enumerate(_members('camvid11')))
  return [(getattr(c, encoding), i) for i, c in enumerate(CLASSES)]
