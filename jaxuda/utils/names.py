"""Names: of modules that are found by them, of what is nearest, of paths."""

import contextlib
import difflib
import functools
import importlib
import importlib.util
import pathlib
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

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


@functools.cache
def beside(name: str) -> ModuleType:
  """Return a package that lies beside jaxuda, such as `data`.

  A folder of its name in the current directory, which many have, hides it from
  Python where jaxuda is installed in place.
  """
  with contextlib.suppress(ImportError):
    module = importlib.import_module(name)
    if module.__file__:
      return module
  init = pathlib.Path(__file__).parents[2] / name / '__init__.py'
  spec: Any = importlib.util.spec_from_file_location(
    name, init, submodule_search_locations=[str(init.parent)]
  )
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module
  spec.loader.exec_module(module)
  return module


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


def printable(text: str) -> str:
  """Return a text whose characters a terminal shows and does not obey.

  Names of files, of tensors and in JSON are other people's. Ends of lines stay.
  """
  if text.isprintable():
    return text
  return ''.join(
    c if c.isprintable() or c == '\n' else ascii(c)[1:-1] for c in text
  )


def of_paths(paths: Sequence[pathlib.Path]) -> list[str]:
  """Return a name for each of several different paths: the shortest ends."""
  longest = max((len(path.parts) for path in paths), default=0)
  for length in range(1, 1 + longest):
    named = ['/'.join(path.parts[-length:]) for path in paths]
    if len(set(named)) == len(paths):
      return named
  return [str(path) for path in paths]
