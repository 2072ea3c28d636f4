"""The command that fetches a file of 5,000 bytes, in small chunks."""

import contextlib
import hashlib

import numpy as np
import pytest
from file_server import serve

from jaxuda import weights
from jaxuda.torch_weights import download, published
from jaxuda.utils.errors import UserError

CONTENT = np.random.default_rng(0).bytes(5_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[::-1]


@contextlib.contextmanager
def server():
  """Serve the file."""
  with pytest.MonkeyPatch.context() as patch, serve(CONTENT) as found:
    patch.setattr(download, 'CHUNK', 500)
    yield found


def listing(monkeypatch):
  """Return listed(addresses, ...): `w` is all that is published."""

  def as_listed(*addresses, **more):
    entry = published.Published(
      'w', 'w.pth', 'a file', 'free', addresses, 'https://page', **more
    )
    monkeypatch.setattr(published, 'listed', lambda: {'w': entry})
    return entry

  return as_listed


def call(*arguments):
  assert weights.main(['weights', 'fetch', *arguments]) == 0


def refused(*arguments):
  """Return the one sentence of a command that fails."""
  with pytest.raises(UserError) as e:
    call('w', *arguments)
  assert '\n' not in str(e.value)
  return str(e.value)


def names(folder):
  return sorted(path.name for path in folder.iterdir())
