"""How all files are written: whole, or not at all."""

import contextlib
import csv
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxuda.utils import guard
from jaxuda.utils.errors import UserError

_ARRAY = 'array'  # the name of the only one in a file


def write(
  path: str | os.PathLike, write_to: Callable[[pathlib.Path], None]
) -> None:
  """Write a file under another name, then move it into place.

  No reader sees half of it, and it survives a power cut once this returns: the
  content and the folder's entry are both flushed to the disk.

  Args:
    path: of the file; its folder is made if needed.
    write_to: writes the content to the path that it is given.

  Raises:
    UserError: the file cannot be written. As after any other error, the old
      one stays, and nothing else is left behind.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(f'.{path.name}.tmp')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to(temporary)
    _flush(temporary)
    temporary.replace(path)
  except BaseException as e:
    with contextlib.suppress(OSError):
      temporary.unlink()
    if not isinstance(e, OSError):
      raise
    reason = e.strerror or str(e)
    if not path.parent.is_dir() and path.parent.exists():
      reason = f'{path.parent} is not a folder'
    raise UserError(f'cannot write {path}: {reason}.') from e
  with contextlib.suppress(OSError):  # which some shared disks cannot
    _flush(path.parent)


@contextlib.contextmanager
def whole_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Give a folder under another name to write into, then move it into place.

  What was at the place goes when the new folder is whole; after an error it
  stays, and nothing else is left behind.

  Args:
    path: absolute, of the folder; those above it are made if needed.

  Raises:
    UserError: something cannot be written.
  """
  temporary = path.with_name(f'.{path.name}.tmp')
  shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
  try:
    with guard.explained(path):
      temporary.mkdir(parents=True)
      yield temporary
      if path.exists():
        shutil.rmtree(path)
      temporary.replace(path)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Write a text file whole; see `write`."""
  write(path, lambda file: file.write_text(text))


def write_json(path: str | os.PathLike, content: Any) -> None:
  """Write JSON whole; see `write`."""
  write_text(path, json.dumps(content, indent=1) + '\n')


def write_csv(
  path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence]
) -> None:
  """Write a table whole; see `write`. None becomes an empty cell."""

  def write_to(file):
    with file.open('w', newline='') as stream:
      writer = csv.writer(stream, lineterminator='\n')
      writer.writerow(header)
      writer.writerows(rows)

  write(path, write_to)


def write_array(path: str | os.PathLike, array: np.ndarray) -> None:
  """Write an array as .npz, with a checksum, whole; see `write`.

  Equal arrays give equal files.
  """

  def write_to(file):
    entry = zipfile.ZipInfo(f'{_ARRAY}.npy')  # of a fixed date
    with zipfile.ZipFile(file, 'w') as archive, archive.open(entry, 'w') as f:
      np.lib.format.write_array(f, array, allow_pickle=False)

  write(path, write_to)


def read_array(path: str | os.PathLike) -> np.ndarray:
  """Return the array that `write_array` has written.

  Raises:
    UserError: it is damaged, or cannot be read.
  """
  try:
    with np.load(path, allow_pickle=False) as found:
      return found[_ARRAY]
  except Exception as e:  # of zip, zlib and NumPy: any damage
    raise UserError(f'{path} is damaged ({type(e).__name__}).') from None


def set_aside(path: pathlib.Path) -> pathlib.Path:
  """Rename what is damaged to damaged-NAME (-2, -3, ...); return the new path.

  Raises:
    OSError: it cannot be renamed.
  """
  count = 1
  target = path.with_name(f'damaged-{path.name}')
  while target.exists():
    count += 1
    target = path.with_name(f'damaged-{path.name}-{count}')
  return path.rename(target)


def remove(path: pathlib.Path) -> None:
  """Remove a file, or what lies in its place: a folder with all in it."""
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def check_writable(folder: pathlib.Path) -> None:
  """Create the folder of --output, before hours of work go into it.

  Raises:
    UserError: it cannot be created or written to.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
  except OSError as e:
    raise UserError(f'--output={folder} is not writable: {e.strerror}.') from e


def _flush(path):
  """Flush a file or a folder to the disk."""
  handle = os.open(path, os.O_RDONLY)
  try:
    os.fsync(handle)
  finally:
    os.close(handle)
