"""Published weights by their names: what there is, and the files here.

published.toml lists them. `python -m jaxuda.weights fetch` brings them; a run
never does, but reads what lies in the folder and was checked there.
"""

import functools
import hashlib
import os
import pathlib
import tomllib
from typing import NamedTuple

from jaxuda.utils import files
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

FOLDER = 'JAXUDA_WEIGHTS'  # the environment variable that names another one
COMMAND = 'python -m jaxuda.weights fetch'
_LIST = pathlib.Path(__file__).with_suffix('.toml')
_WHOLE = 64  # digits of a sha256


class Published(NamedTuple):
  """An entry of published.toml, which describes its keys."""

  name: str
  file: str
  about: str
  licence: str
  addresses: tuple[str, ...]
  page: str
  called: str = ''
  sha256: str = ''
  bytes: int | None = None


@functools.cache
def listed() -> dict[str, Published]:
  """Return all of published.toml, by name and in its order."""
  content = tomllib.loads(_LIST.read_text('utf-8'))
  return {
    name: Published(name, **{**entry, 'addresses': tuple(entry['addresses'])})
    for name, entry in content.items()
  }


def get(name: str) -> Published:
  """Return an entry; a UserError names the nearest."""
  if name not in listed():
    hint = nearest(name, listed())
    raise UserError(f'there are no published weights {name!r}{hint}')
  return listed()[name]


def default_folder() -> pathlib.Path:
  """Return $JAXUDA_WEIGHTS, or weights/ beside the cache of compiled code."""
  if named := os.environ.get(FOLDER):
    return pathlib.Path(named).expanduser()
  caches = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(caches) / 'jaxuda' / 'weights'


def located(name_or_path: str | os.PathLike) -> pathlib.Path:
  """Return the path that a user means: a published file's, or the path itself.

  A name of the list goes before a path; `./NAME` is a folder of that name.
  """
  entry = listed().get(str(name_or_path))
  if entry:
    return default_folder() / entry.file
  return pathlib.Path(name_or_path).expanduser()


def find(name_or_path: str | os.PathLike) -> pathlib.Path:
  """Return `located`, a published file only as it was when it was fetched.

  Raises:
    UserError: the published file is not there, was never checked, or is another
      one than it was; names the command that mends it.
  """
  path = located(name_or_path)
  entry = listed().get(str(name_or_path))
  if entry is None:
    return path
  command = f'{COMMAND} {entry.name}'
  if not path.is_file():
    raise UserError(f'{entry.name}: {path} is not there yet: run `{command}`.')
  if not (is_known(entry) or _recorded(path)):
    raise UserError(f'{path} has not been checked yet: run `{command}`.')
  check(entry, path, sha256(path), command)
  return path


def check(
  entry: Published, path: pathlib.Path, found: str, command: str
) -> None:
  """Refuse a file that is not what is published, or was when it was fetched.

  Args:
    entry: of the list.
    path: of the file.
    found: its sha256.
    command: fetches it.

  Raises:
    UserError: it is not; says what to delete, the note of its sha256, too.
  """
  if reason := difference(entry, path, found):
    noted = [record_of(path)] if record_of(path).is_file() else []
    raise UserError(
      f'{path} is not {entry.name}: {reason}; delete '
      f'{" and ".join(map(str, [path, *noted]))}, then run `{command}`.'
    )


def difference(entry: Published, path: pathlib.Path, found: str) -> str:
  """Return why a sha256 is not that of a published file; '' where it may be.

  Args:
    entry: of the list.
    path: where the file lies, or is going to.
    found: the sha256.
  """
  if not found.startswith(entry.sha256):
    more = '' if is_known(entry) else '...'
    return f'its sha256 is {found}, and {entry.sha256}{more} is published'
  recorded = _recorded(path)
  if recorded not in ('', found) and not is_known(entry):
    return (
      f'its sha256 is {found}, and was {recorded} when it was first fetched '
      f'({record_of(path)})'
    )
  return ''


def record(path: pathlib.Path, found: str) -> None:
  """Note a file's sha256 beside it, as `sha256sum -c` reads it.

  Raises:
    UserError: it cannot be written.
  """
  files.write_text(record_of(path), f'{found}  {path.name}\n')


def is_known(entry: Published) -> bool:
  """Return whether the list has the whole sha256 of a file."""
  return len(entry.sha256) == _WHOLE


def sha256(path: pathlib.Path) -> str:
  """Return the sha256 of a file's content, in hexadecimal digits."""
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _recorded(path):
  """Return the sha256 that was noted beside a file; '' where none was."""
  try:
    return record_of(path).read_text().split()[0]
  except (OSError, UnicodeDecodeError, IndexError):
    return ''


def record_of(path: pathlib.Path) -> pathlib.Path:
  """Return where the sha256 of a file is noted."""
  return path.with_name(f'{path.name}.sha256')
