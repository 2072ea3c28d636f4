"""Formats, one file each, found by name.

A format's file exports

  FILE: the name of what it writes: a file, or a folder
  DTYPES: the compute types that its readers have, a network's first choice
    first
  write(program, path) writes a Program whole
  load(path) -> a function: u8[1, H, W, 3] -> {name: array}, as its readers have
    it, on the CPU

and imports the package that it needs when it is imported itself.
"""

import sys
from types import ModuleType

from jaxuda.utils import names
from jaxuda.utils.errors import UserError


def load(name: str) -> ModuleType:
  """Return the format's file of that name.

  Raises:
    UserError: there is none, and names the nearest; or it needs a package.
  """
  try:
    return names.load(sys.modules[__name__], name, 'format')
  except ModuleNotFoundError as e:
    raise UserError(
      f'--format={name} needs the package {e.name}: pip install '
      "'jaxuda[export]', or from a clone -r requirements/export.txt"
    ) from e
