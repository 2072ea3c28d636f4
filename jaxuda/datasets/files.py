"""Raw files: found in folders or inside zip archives, paired, read whole.

A file is named by a *reference*: its path, or `ARCHIVE.zip::MEMBER`.
"""

import errno
import functools
import lzma
import os
import pathlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jaxuda.utils.errors import UserError

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg')
MOST_BYTES = 2**30  # of a file, or of a member of an archive
_IN_ZIP = '::'
# What reading a damaged, encrypted or exotically packed archive member raises.
_BROKEN_ZIP = (
  zipfile.BadZipFile,
  zlib.error,
  lzma.LZMAError,
  struct.error,
  EOFError,
  KeyError,
  RuntimeError,
)


class Problem(UserError):
  """Something wrong with one raw file; `str()` is the sentence.

  Attributes:
    kind: a short name for counting, such as 'missing pair'.
    path: reference of the file.
    text: what is wrong with it.
    ids: for ids outside the map, id -> number of pixels.
  """

  def __init__(self, kind, path, text, ids=None):
    """Keep what is wrong with which file."""
    super().__init__(kind, path, text, ids)
    self.kind, self.path, self.text, self.ids = kind, path, text, ids

  def __str__(self):
    return f'{self.path}: {self.text}'


class AbsentError(UserError):
  """A folder is not there, and with it perhaps a whole split."""


class Example(NamedTuple):
  """One image and its label, by reference; None is a missing file."""

  id: str
  image: str | None
  label: str | None


class Split(NamedTuple):
  """The examples of a split in the order of their ids."""

  examples: list[Example]
  labelled: bool  # whether every example must have a label
  problems: tuple[Problem, ...] = ()  # what belongs to no single example


class Found(dict[str, str]):
  """References of files by their ids.

  Attributes:
    duplicates: a `Problem` for each further file of an id.
  """

  def __init__(self):
    """Start without files."""
    super().__init__()
    self.duplicates = []

  def add(self, key: str, ref: str) -> None:
    """Add a file; a second one of its id is a duplicate."""
    if key in self:
      text = f'has the same name as {self[key]}.'
      self.duplicates.append(Problem('duplicate', ref, text))
    else:
      self[key] = ref


def pair(
  images: Found, labels: Found | None, problems: Iterable[Problem] = ()
) -> Split:
  """Pair references by id; without `labels` the split is unlabelled."""
  labelled = labels is not None
  labels = labels if labelled else Found()
  return Split(
    [
      Example(i, images.get(i), labels.get(i))
      for i in sorted({*images, *labels})
    ],
    labelled,
    (*images.duplicates, *labels.duplicates, *problems),
  )


def listing(
  folder: pathlib.Path,
  *,
  dataset: str,
  ending: str = '',
  suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
) -> Found:
  """Find the files `<id><ending><suffix>` of one folder.

  Returns:
    id -> path. Hidden files are left out, folders are not: whoever reads them
    raises the error.

  Raises:
    AbsentError: there is no such folder.
  """
  check_folder(folder, dataset)
  found = Found()
  for path in _entries(folder):
    _add(found, path.name, str(path), ending, suffixes)
  return found


def tree(
  root: pathlib.Path, archive: pathlib.Path, top: str, *, dataset: str
) -> dict[str, str]:
  """Find every file below `root/top`, or below `top/` in a zip archive.

  Returns:
    path relative to `top`, with '/' -> reference.

  Raises:
    UserError: there is neither.
  """
  folder = root / top
  if not folder.is_dir() and archive.is_file():
    members = _members(str(archive))
    prefix = f'{top}/'
    return {
      m.removeprefix(prefix): f'{archive}{_IN_ZIP}{m}'
      for m in members
      if m.startswith(prefix) and not m.endswith('/')
    }
  if not folder.is_dir():
    raise UserError(
      f'{root}: neither {top}/ nor {archive.name} is there; '
      f'data/{dataset}/README.md shows the expected files.'
    )
  return below(folder)


def below(folder: pathlib.Path) -> dict[str, str]:
  """Find every file in a folder and in those below it.

  Returns:
    path relative to the folder, with '/' -> path.
  """
  found = {}
  for path in _walk(folder, ()):
    # Whoever reads a folder that is named like a file raises the error.
    if path.suffix or not path.is_dir():
      found[path.relative_to(folder).as_posix()] = str(path)
  return found


def _walk(
  folder: pathlib.Path, above: tuple[str, ...]
) -> Iterator[pathlib.Path]:
  """Yield all that is below a folder, through links but not in circles."""
  real = os.path.realpath(folder)
  if real in above:
    return
  for path in _entries(folder):
    yield path
    if path.is_dir():
      yield from _walk(path, (*above, real))


def _entries(folder):
  try:
    return sorted(folder.iterdir())
  except OSError as e:
    text = f'cannot be read: {e.strerror}.'
    raise Problem('unreadable', str(folder), text) from None


def select(
  found: dict[str, str], split: str, ending: str, suffixes=('.png',)
) -> Found:
  """Return the files `<split>/<anything>/<id><ending>` of a `tree` by id."""
  chosen = Found()
  for path, ref in sorted(found.items()):
    if path.startswith(f'{split}/'):
      _add(chosen, path.rpartition('/')[2], ref, ending, suffixes)
  return chosen


def check_folder(folder: pathlib.Path, dataset: str) -> None:
  """Raise AbsentError where a folder is not there."""
  if not folder.is_dir():
    raise AbsentError(
      f'{folder}: no such folder; data/{dataset}/README.md shows the expected '
      'files.'
    )


def read(ref: str) -> bytes:
  """Read a whole file or archive member.

  Raises:
    Problem: it cannot be read, or is empty.
  """
  stem, in_zip, member = ref.partition(f'.zip{_IN_ZIP}')
  try:
    # A file's own name may have what stands between an archive and a member.
    if in_zip and not os.path.exists(ref):
      with _zip(f'{stem}.zip').open(member) as file:
        data = file.read(MOST_BYTES + 1)
    else:
      data = _read_regular(ref)
  except IsADirectoryError:
    raise Problem('unreadable', ref, 'is a directory, not a file.') from None
  except (OSError, NotImplementedError, *_BROKEN_ZIP) as e:
    reason = getattr(e, 'strerror', None) or str(e).rstrip('.')
    raise Problem('unreadable', ref, f'cannot be read: {reason}.') from None
  if not data:
    raise Problem('unreadable', ref, 'is empty.')
  if len(data) > MOST_BYTES:
    text = f'has more than {MOST_BYTES / 2**20:,.0f} MiB: it is no image.'
    raise Problem('unreadable', ref, text)
  return data


def check_regular(path: str | os.PathLike) -> None:
  """Refuse what is no file with an end, and would be waited for.

  Raises:
    OSError: it is a pipe, a device or a socket, or is not there.
  """
  mode = os.stat(path).st_mode
  if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
    raise OSError(errno.EINVAL, 'it is no regular file')


def _read_regular(path):
  check_regular(path)
  with open(path, 'rb') as file:
    return file.read(MOST_BYTES + 1)


def _add(found, name, ref, ending, suffixes):
  stem, suffix = os.path.splitext(name)
  if name.startswith('.') or suffix.lower() not in suffixes:
    return
  if not stem.endswith(ending):
    return
  found.add(stem.removesuffix(ending), ref)


@functools.lru_cache(maxsize=4)
def _zip(path):
  return zipfile.ZipFile(path)


def _members(path):
  try:
    return _zip(path).namelist()
  except (OSError, zipfile.BadZipFile) as e:
    raise Problem('unreadable', path, f'is not a zip archive: {e}.') from None
