"""Nested configs as flat ones, with dots for levels."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict


def flatten(config: Mapping, prefix: str = '') -> dict[str, Any]:
  """Return {'a.b': value} of nested dicts or ConfigDicts."""
  # As flax.traverse_util has it, which takes a second to import.
  flat = {}
  for key, value in config.items():
    if isinstance(value, dict | ConfigDict):
      flat |= flatten(value, f'{prefix}{key}.')
    else:
      flat[prefix + key] = value
  return flat
