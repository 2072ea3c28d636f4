"""What makes a sentence of a full disk, and leaves no empty folders behind."""

import contextlib
import errno
import pathlib
from collections.abc import Iterator

from jaxuda.utils.errors import UserError


@contextlib.contextmanager
def explained(root: pathlib.Path) -> Iterator[None]:
  """Turn an error of the disk into one sentence.

  Raises:
    UserError: something inside could not be written.
  """
  try:
    yield
  except UserError:
    raise
  except OSError as e:
    full = e.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = 'no space is left' if full else e.strerror or str(e)
    raise UserError(f'{e.filename or root}: cannot write: {reason}.') from e
  except Exception as e:
    # TensorFlow and ArrayRecord have their own exceptions for a full disk.
    if 'No space left' not in str(e) and 'write() failed' not in str(e):
      raise
    sentence = ' '.join(str(e).split())
    raise UserError(f'{root}: cannot write: {sentence}') from e


@contextlib.contextmanager
def clean(folder: pathlib.Path) -> Iterator[None]:
  """Remove the empty folders above what was not written."""
  made = [p for p in (folder.parent, *folder.parents[1:]) if not p.exists()]
  try:
    yield
  finally:
    for path in made:
      with contextlib.suppress(OSError):
        path.rmdir()
