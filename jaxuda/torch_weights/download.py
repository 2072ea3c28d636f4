"""One address into one file, going on where an earlier attempt was cut.

urllib, as requests and pooch would give us no resumption either: what is below
would be the same.
"""

import contextlib
import errno
import http.client
import json
import pathlib
import re
import shutil
import urllib.error
import urllib.request

from jaxuda.utils import console

CHUNK = 2**20  # bytes
TIMEOUT_S = 30.0  # without a byte
_MOST_CUTS = 20


class AddressError(Exception):
  """An address does not give the file; the message is the reason."""


class _CutError(Exception):
  """A connection ended before the file did."""


def download(
  address: str, part: pathlib.Path, label: str, size: int | None = None
) -> None:
  """Fetch an address into `part`, which stays, as far as it came, on an error.

  What is in `part` is gone on from where the server says that its file is still
  the same, by the ETag or the date that it gave then, in a note beside `part`.
  Otherwise the file is fetched from its start.

  Args:
    address: http or https.
    part: the file.
    label: of the progress.
    size: in bytes, where it is known.

  Raises:
    AddressError: the server has no such file, none of that size, or cannot be
      reached to the end.
    OSError: of the disk.
  """
  for _ in range(_MOST_CUTS):
    had = _size(part)
    try:
      return _go_on(address, part, label, size)
    except _CutError as e:
      reason = str(e)
    if _size(part) <= had:
      break  # no further than before, as where a server knows no ranges
  raise AddressError(reason)


def forget(part: pathlib.Path) -> None:
  """Delete a file and its note, if they are there."""
  for path in (part, _note_of(part)):
    path.unlink(missing_ok=True)


def _go_on(address, part, label, size):
  """Fetch the rest of the file, or all of it."""
  note = _read_note(part, address)
  start = _size(part) if note.get('validator') else 0
  if start and start == note.get('bytes'):
    return
  headers = {'User-Agent': 'jaxuda', 'Accept-Encoding': 'identity'}
  if start:
    headers |= {'Range': f'bytes={start}-', 'If-Range': note['validator']}
  response = _open(address, headers)
  if response is None:  # there is less than was fetched of it before
    forget(part)
    return _go_on(address, part, label, size)
  with response:
    start = _start_of(response, start)
    whole = _whole_size(response, start)
    if None not in (size, whole) and size != whole:
      raise AddressError(f'it has {whole:,} bytes in place of {size:,}')
    if not start:
      part.write_bytes(b'')
      _write_note(part, address, _validator_of(response), whole)
    _check_space(part, start, whole)
    _copy(response, part, label, start, whole)


def _open(address, headers):
  """Return the response, None where nothing is in the range."""
  request = urllib.request.Request(address, headers=headers)
  try:
    return urllib.request.urlopen(request, timeout=TIMEOUT_S)
  except urllib.error.HTTPError as e:
    out_of_range = http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    if e.code == out_of_range and 'Range' in headers:
      return None
    raise AddressError(f'{e.code} {e.reason}') from e
  except (OSError, http.client.HTTPException) as e:
    raise AddressError(_reason(e)) from e


def _start_of(response, asked):
  """Return from which byte on a response has the file.

  Raises:
    AddressError: from another one than was asked for, or it is a web page.
  """
  if response.headers.get_content_type() == 'text/html':
    raise AddressError('it answers with a web page')
  if response.status != http.HTTPStatus.PARTIAL_CONTENT:
    return 0
  given = response.headers.get('Content-Range', '')
  if not re.match(rf'bytes {asked}-', given):
    raise AddressError(f'it answers with another range ({given or "none"})')
  return asked


def _whole_size(response, start):
  length = response.headers.get('Content-Length', '')
  return start + int(length) if length.isdecimal() else None


def _copy(response, part, label, start, whole):
  """Append a response's body to the file; raises _CutError if it ends early."""
  with part.open('ab') as file, _progress(label, start, whole) as advance:
    while True:
      try:
        chunk = response.read(CHUNK)
      except (OSError, http.client.HTTPException) as e:
        raise _CutError(_reason(e)) from e
      if not chunk:
        break
      file.write(chunk)
      advance()
  if whole is not None and _size(part) < whole:
    raise _CutError(f'it was cut after {_size(part):,} of {whole:,} bytes')


def _progress(label, start, whole):
  if whole is None:
    return contextlib.nullcontext(lambda: None)
  return console.progress(f'{label}, MiB', -(-(whole - start) // CHUNK))


def _check_space(part, start, whole):
  if whole and whole - start > shutil.disk_usage(part.parent).free:
    raise OSError(
      errno.ENOSPC, f'{whole - start:,} more bytes need room', str(part)
    )


def _validator_of(response):
  """Return what tells whether the file has changed, None for nothing.

  A weak ETag is the same for files that differ in their bytes.
  """
  tag = response.headers.get('ETag')
  if tag and not tag.startswith('W/'):
    return tag
  return response.headers.get('Last-Modified')


def _reason(error):
  """Return one line about an error of the network."""
  cause = getattr(error, 'reason', None) or error
  text = getattr(cause, 'strerror', None) or str(cause) or type(cause).__name__
  return f'no connection: {text.splitlines()[0]}'


def _size(part):
  return part.stat().st_size if part.is_file() else 0


def _note_of(part):
  return part.with_name(f'{part.name}.json')


def _write_note(part, address, validator, whole):
  note = {'address': address, 'validator': validator, 'bytes': whole}
  _note_of(part).write_text(json.dumps(note))


def _read_note(part, address):
  """Return what is noted of the file, {} where it is of another address."""
  try:
    note = json.loads(_note_of(part).read_text())
    return note if note['address'] == address else {}
  except (OSError, ValueError, LookupError, TypeError):
    return {}
