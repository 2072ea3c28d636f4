"""Bringing published weights to where `config.init=NAME` finds them.

A file whose sha256 nobody has published is trusted when it is first fetched:
its sha256 is printed and noted beside it, so that a later change is told.
"""

import pathlib
import shlex

from jaxuda.torch_weights import download, published
from jaxuda.torch_weights.download import AddressError
from jaxuda.utils import console, files, lock
from jaxuda.utils.errors import UserError


def print_list(folder: pathlib.Path | None = None) -> None:
  """Print a table of all published weights; see `fetch` for the folder."""
  folder = folder or published.default_folder()
  rows = [
    (
      entry.name,
      entry.about,
      entry.licence,
      _size(entry) if entry.addresses else 'by hand',
      'yes' if (folder / entry.file).is_file() else '',
    )
    for entry in published.listed().values()
  ]
  columns = ('name', 'weights', 'licence', 'size', 'here')
  print(console.table(columns, rows))
  print(f'\nhere: {folder} (--folder=DIR, or ${published.FOLDER})')
  print(f'{published.COMMAND} NAME, then --config.init=NAME')


def _size(entry):
  return f'{entry.bytes / 2**20:,.0f} MiB' if entry.bytes else ''


def fetch(name: str, folder: pathlib.Path | None = None) -> pathlib.Path:
  """Bring a published file into a folder, or check the one that is there.

  One process at a time does so; a second one waits, then checks. A download
  that is cut is gone on from by the next call.

  Args:
    name: of the list.
    folder: where the file goes; None for the one where `config.init` looks.

  Returns:
    The file, which was compared with what is published or noted of it.

  Raises:
    UserError: there is no such name, no address gives the file, or it cannot be
      written; says where to put it by hand.
  """
  entry = published.get(name)
  path = (folder or published.default_folder()) / entry.file
  part = path.with_name(f'{path.name}.part')
  waiting = f'{name}: waiting for another process that fetches it'
  try:
    with lock.hold(
      path.with_name(f'.{path.name}.lock'), lambda: print(waiting, flush=True)
    ):
      if path.is_file():
        _check(entry, path)
      else:
        _download(entry, path, part)
  except KeyboardInterrupt:
    print(f'\n{part}: the same command goes on from here')
    raise
  except OSError as e:
    raise UserError(
      f'{e.filename or path}: cannot write ({e.strerror or e}); make room and '
      f'run `{_again(entry, path)}`, which goes on from what is there, or give '
      'another --folder.'
    ) from e
  return path


def _check(entry, path):
  """Check a file that lies there, put by hand or fetched before."""
  found = published.sha256(path)
  published.check(entry, path, found, _again(entry, path))
  _note(entry, path, found)


def _download(entry, path, part):
  """Fetch a file from the first address that gives it."""
  reasons = []
  for address in entry.addresses:
    print(f'{entry.name}: {address}', flush=True)
    try:
      download.download(address, part, entry.name, entry.bytes)
      found = published.sha256(part)
      if reason := published.difference(entry, path, found):
        download.forget(part)
        raise AddressError(reason)
    except AddressError as e:
      reasons.append(f'{address} ({e})')
      continue
    files.write(path, part.replace)  # flushed to the disk, then moved
    download.forget(part)
    _note(entry, path, found)
    return
  raise UserError(_by_hand(entry, path, reasons))


def _note(entry, path, found):
  """Note the sha256 of a file beside it, and print how far it is known."""
  if published.is_known(entry):
    known = 'as published'
  elif entry.sha256:
    known = f'of which {entry.sha256} is published'
  else:
    known = 'which nobody has published'
  if not published.is_known(entry):
    known += ': noted, and trusted from now on'
    published.record(path, found)
  print(f'{path}: sha256 {found}, {known}')


def _by_hand(entry, path, reasons):
  """Return the sentence on a file that only a person can fetch."""
  why = 'has no address that a program can fetch'
  if reasons:
    why = f'could not be fetched from {"; ".join(reasons)}'
  return (
    f'{entry.name} {why}: download {entry.called or entry.file} from '
    f'{entry.page}, put it at {path} and run `{_again(entry, path)}`, which '
    'checks it.'
  )


def _again(entry, path):
  """Return the command that looks for a file where it was meant to be."""
  command = f'{published.COMMAND} {entry.name}'
  if path.parent == published.default_folder():
    return command
  return f'{command} --folder={shlex.quote(str(path.parent))}'
