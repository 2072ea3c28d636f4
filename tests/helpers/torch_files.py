"""The files of reference/torch, which torch wrote, and how a bad one ends."""

import pathlib

import pytest

from jaxuda.torch_weights import files
from jaxuda.utils.errors import UserError

FOLDER = pathlib.Path(__file__).parents[1] / 'reference/torch'
REFUSED = 'is not a file of PyTorch tensors, or holds code, which is not run ('


def read_bytes(name):
  """Return a file's bytes, for a test that changes some."""
  return (FOLDER / name).read_bytes()


def assert_refused(path, reason=REFUSED):
  """Assert that reading ends in one sentence about the path."""
  with pytest.raises(UserError) as refused:
    files.read(path)
  sentence = str(refused.value)
  assert sentence.startswith(f'{path} {reason}') and sentence.endswith('.')
  assert '\n' not in sentence
