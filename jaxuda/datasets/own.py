"""Users' own data: a folder of images, or a dataset that a TOML file describes.

`folder:/path/to/photos` has no labels and one split, train. A TOML file lies
beside its data:

  [splits.train]
  images = "images/train"              # a folder and those below it, or
  labels = "labels/*_ids.png"          # a pattern; without labels: unlabelled
  [splits.val]
  images = "val/**/*.jpg"
  labels = "val/**/*.png"

with a class table (labels/tables.py) of the ids in its label files. In its
place stands `encoding = "cityscapes"` where they are those of a known dataset,
and `encoding = "other.toml"` where the table is in a file beside this one. An
image and its label are those of which the wildcards, or the paths below the
folders, match the same.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import statistics
from collections.abc import Mapping
from typing import Any

from jaxuda import labels
from jaxuda.datasets import files, patterns, photos
from jaxuda.labels import tables
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

FOLDER = 'folder:'
VERSION = '1.0.0'
UNLABELLED = 'cityscapes'  # the encoding of labels that are not there
SPLITS = ('train', 'val', 'test', 'tune')
_SIZED = 200  # images at most from which a size is chosen


def is_own(spec: str) -> bool:
  """Return whether a dataset's name is a user's own folder or file."""
  return spec.startswith(FOLDER) or tables.is_file(spec)


def absolute(spec: str) -> str:
  """Return the name of a user's own data, as it is understood anywhere."""
  kind, path = _split(spec)
  return kind + os.path.abspath(os.path.expanduser(path))


def path(spec: str) -> str:
  """Return the absolute path of a user's own folder or file."""
  return _split(absolute(spec))[1]


def refuse_raw(spec: str, raw: str | os.PathLike | None) -> None:
  """Raise UserError where --raw is given, too: own data says where it is."""
  if raw:
    raise UserError(f'--raw={raw}: {spec} says where it is; leave --raw out.')


def slug(spec: str) -> str:
  """Return a name for folders: the path's last part, and a hash of the whole.

  It begins with a letter and has letters, digits and '_' alone, as TFDS wants.
  """
  where = path(spec)
  stem = pathlib.Path(where).stem.lower()
  stem = re.sub(r'[^a-z0-9]+', '_', stem).strip('_')
  digest = hashlib.sha256(os.fsencode(where)).hexdigest()[:8]
  return f'own_{stem}_{digest}'


def _split(spec):
  kind = FOLDER if spec.startswith(FOLDER) else ''
  return kind, spec.removeprefix(FOLDER)


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A user's own data; it has the names that a package in data/ has.

  Attributes:
    path: of the folder or the TOML file.
    splits: a split's name to the patterns of its images and its labels.
    ENCODING: of its label files; the path of its TOML file for its own table.
    COUNTS: a split's name to None: how many images it has is not published.
    colors: RGB -> id of label files that are painted.
  """

  path: pathlib.Path
  splits: Mapping[str, tuple[str, str | None]]
  ENCODING: str
  COUNTS: Mapping[str, None]
  colors: Mapping[tuple[int, int, int], int]

  NEEDS_RAW = True
  VERSION = VERSION
  DEFAULT_SIZE = None
  VARIANTS = ()
  LABEL_FORMATS = (
    *('grey8', 'palette8', 'palette4', 'palette2', 'palette1'),
    *('rgb8', 'rgba8'),
  )
  ALSO_KNOWN = frozenset()
  SIZES_DIFFER = frozenset()
  HOMEPAGE = ''
  CITATION = ''

  @property
  def __doc__(self) -> str:
    return f'Own data: {self.path}.'

  def examples(
    self, raw: pathlib.Path, variant: str, split: str
  ) -> files.Split:
    """List the images of a split, each with its label, if the split has any."""
    del raw, variant  # the path is known, and there is one variant
    images, annotations = self.splits[split]
    if self.path.is_dir():
      found = files.Found()
      found |= {p.name: str(p.path) for p in photos.find(self.path)}
      return files.pair(found, None)
    root, where = self.path.parent, f'{self.path}: splits.{split}'
    found = patterns.find(root, images, photos.suffixes(), f'{where}.images')
    if annotations is None:
      return files.pair(found, None)
    return files.pair(
      found, patterns.find(root, annotations, ('.png',), f'{where}.labels')
    )


def describe(spec: str) -> Dataset:
  """Return a user's own dataset.

  Raises:
    UserError: there is no such folder or file, or something is wrong in it.
  """
  where = pathlib.Path(path(spec))
  if not spec.startswith(FOLDER):
    return _from_file(where, tables.stamp(where))
  if where.is_file():
    raise UserError(f'{spec} is a file: name the folder that it lies in.')
  if not where.is_dir():
    raise UserError(f'there is no folder {where} ({spec}).')
  return Dataset(where, {'train': ('', None)}, UNLABELLED, {'train': None}, {})


@functools.cache
def _from_file(path, stamp):
  del stamp  # a file that was changed is read again
  content = tables.read(path)
  tables.check_keys(content, path)
  splits = _splits(content.get('splits'), path)
  encoding = content.get('encoding')
  given = ('classes' in content) + (encoding is not None)
  labelled = any(annotations for _, annotations in splits.values())
  if given > 1 or (labelled and not given):
    raise UserError(
      f'{path}: its label files need a class table, `classes`, or an encoding '
      f'of {", ".join(labels.ENCODINGS)} or of another TOML file, one of them.'
    )
  colors = {}
  if 'classes' in content:
    encoding, colors = str(path), _colors(tables.parse(content, path))
  elif tables.is_file(encoding):
    encoding = os.path.abspath(path.parent / encoding)
    colors = _colors(tables.load(encoding))
  elif encoding is None:
    encoding = UNLABELLED
  elif encoding not in labels.ENCODINGS:
    known = nearest(str(encoding), labels.ENCODINGS)
    raise UserError(f'{path}: there is no encoding {encoding!r}{known}')
  return Dataset(path, splits, encoding, dict.fromkeys(splits), colors)


def _colors(table):
  """Return {RGB: id} of painted labels; black is void unless a class has it."""
  own = table.encodings[0]
  found = {(0, 0, 0): min(table.root.void[own])}
  return found | {c.color: c.ids[own] for c in table.classes}


def _splits(content: Any, path: pathlib.Path) -> dict:
  """Return {split: (pattern of images, pattern of labels)}, checked."""
  if not isinstance(content, dict) or not content:
    raise UserError(f'{path}: there is no [splits.train] with its images.')
  found = {}
  for name, given in content.items():
    if name not in SPLITS:
      raise UserError(f'{path}: {name!r} is no split{nearest(name, SPLITS)}')
    given = dict(given) if isinstance(given, dict) else {}
    images, annotations = given.pop('images', None), given.pop('labels', None)
    if given or not isinstance(images, str):
      raise UserError(
        f'{path}: [splits.{name}] has images = "…" and, where they are there, '
        f'labels = "…"{", not " + ", ".join(given) if given else ""}.'
      )
    if annotations is not None and not isinstance(annotations, str):
      raise UserError(f'{path}: splits.{name}.labels is no text.')
    found[name] = images, annotations
  return found


def fingerprint(spec: str) -> str:
  """Return a digest of own data: the names, sizes and times of all its files.

  And of what its TOML files say, whatever comments they have.
  """
  described, digest = describe(spec), hashlib.sha256()
  said = {str(described.path), described.ENCODING}
  for name in sorted(filter(tables.is_file, said)):
    content = tables.read(pathlib.Path(name))
    text = json.dumps(content, sort_keys=True, default=str)
    digest.update(text.encode())
  for split in described.splits:
    for example in described.examples(described.path, '', split).examples:
      for ref in filter(None, (example.image, example.label)):
        broken = not os.path.exists(ref)  # a link, told when it is read
        info = os.stat(ref, follow_symlinks=not broken)
        line = f'{split} {ref} {info.st_size} {info.st_mtime_ns}\n'
        digest.update(os.fsencode(line))
  return digest.hexdigest()


def choose_size(
  spec: str, split: str, like: tuple[int, int], divisor: int
) -> tuple[tuple[int, int], int, int]:
  """Return the size at which images of many sizes are trained.

  It has the pixels of `like` and the shape of the middle one of the images,
  from the narrowest to the widest: a shape that one of them has.

  Args:
    spec: of own data.
    split: whose images are looked at, 200 of them at most.
    like: (height, width).
    divisor: of both sides.

  Returns:
    (height, width), how many were looked at, and how many of these are more
    than a quarter wider or narrower.

  Raises:
    UserError: none of them can be read.
  """
  described = describe(spec)
  found = described.examples(described.path, '', split).examples
  refs = [e.image for e in found if e.image]
  refs = refs[:: -(-len(refs) // _SIZED) or 1]
  shapes = [s for s in map(photos.size, refs) if s]
  if not shapes:
    raise UserError(f'{spec}: none of {len(refs)} files is an image.')
  ratios = [width / height for height, width in shapes]
  ratio = statistics.median_low(ratios)
  height = (like[0] * like[1] / ratio) ** 0.5
  sides = (height, height * ratio)
  size = tuple(max(1, round(side / divisor)) * divisor for side in sides)
  others = sum(not 0.8 <= r / ratio <= 1.25 for r in ratios)
  return size, len(shapes), others
