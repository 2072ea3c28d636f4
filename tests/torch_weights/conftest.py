"""A server of weights, and a list that has them alone."""

import fetching
import pytest

from jaxuda.torch_weights import published


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Where the files go: a folder that is not there yet."""
  monkeypatch.setenv(published.FOLDER, str(tmp_path / 'weights'))
  return tmp_path / 'weights'


@pytest.fixture
def server():
  with fetching.server() as found:
    yield found


@pytest.fixture
def listed(monkeypatch):
  return fetching.listing(monkeypatch)
