"""Modules that are found by name: methods, encoders, analyses, datasets."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from jaxuda.utils.errors import UserError

_LISTED = 24  # names at most, where none is near


def modules(package: ModuleType) -> list[str]:
  """Return the names of a package's modules that do not begin with '_'."""
  found = (module.name for module in pkgutil.iter_modules(package.__path__))
  return sorted(name for name in found if not name.startswith('_'))


def load(package: ModuleType, name: str, kind: str) -> ModuleType:
  """Import a module of a package by its name.

  Args:
    package: where the modules are.
    name: of one of them.
    kind: what they are, for the message: 'method'.

  Raises:
    UserError: there is none of that name.
  """
  known = modules(package)
  if name not in known:
    raise UserError(f'there is no {kind} {name!r}{nearest(name, known)}')
  return importlib.import_module(f'{package.__name__}.{name}')


def nearest(name: str, names: Iterable[str]) -> str:
  """Return '; did you mean X?' or '; there are X, Y, Z.' for an unknown name.

  Of dotted names the last part counts, too: 'lr' is near to 'optim.lr'. Those
  that are listed are of the same level, if there are any, and not too many.
  """
  names = list(names)
  last = {n.rpartition('.')[2]: n for n in names}
  match = difflib.get_close_matches(name, names, 1, 0.5) or [
    last[m] for m in difflib.get_close_matches(name, last, 1, 0.6)
  ]
  if match:
    return f'; did you mean {match[0]!r}?'
  level = name.rpartition('.')[0]
  there = [n for n in names if n.rpartition('.')[0] == level] or names
  more = ', ...' if len(there) > _LISTED else '.'
  return f'; there are {", ".join(there[:_LISTED])}{more}'
