"""All layouts of PyTorch files, which the networks' own modules declare."""

import importlib
import re
from collections.abc import Iterable

from jaxuda.models import (
  decoders,
  discriminators,
  encoders,
  fine_discriminators,
  torch_names,
)
from jaxuda.models.torch_names import Layout
from jaxuda.utils import names
from jaxuda.utils.errors import UserError

OWN = Layout(
  'jaxuda',
  'a segmenter by the names that it has here',
  (r'encoder\.', r'decoder\.'),
  torch_names.unchanged,
  prefixes={'encoder': 'encoder.', 'decoder': 'decoder.'},
)


def _collect() -> tuple[Layout, ...]:
  """Return whole segmenters first: their files have an encoder's keys, too."""
  found = []
  for package in (decoders, encoders):
    for name in names.modules(package):
      module = importlib.import_module(f'{package.__name__}.{name}')
      found += module.LAYOUTS
  return (OWN, *found, *discriminators.LAYOUTS, *fine_discriminators.LAYOUTS)


LAYOUTS = _collect()
BY_NAME = {layout.name: layout for layout in LAYOUTS}


def detect(keys: Iterable[str], where: object) -> Layout:
  """Return the layout of a file's keys.

  Raises:
    UserError: it is none of LAYOUTS; names `where` and the first keys.
  """
  keys = list(keys)
  for layout in LAYOUTS:
    if all(any(re.match(m, key) for key in keys) for m in layout.marks):
      return layout
  first = ', '.join(keys[:4]) or 'none'
  raise UserError(
    f'{where} has the keys of no known model: {first}'
    f'{", ..." if len(keys) > 4 else ""}.'
  )
