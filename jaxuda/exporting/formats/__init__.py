"""Formats, one file each, found by name.

A format's file exports

  FILE: the name of what it writes: a file, or a folder
  DTYPES: the compute types that its readers have, a network's first choice
    first
  write(program, path) writes a Program whole
  load(path) -> a function: u8[1, H, W, 3] -> {name: array}, as its readers have
    it: of ONNX on the CPU, of the others on the device that they choose

and imports the package that it needs when it is imported itself.
"""

import importlib.util
import os
import pathlib
import sys
from types import ModuleType

from jaxuda.utils import names
from jaxuda.utils.errors import UserError

NEEDS = {'onnx': ('onnx', 'onnxruntime')}  # packages that are optional


def check(name: str, output: str | os.PathLike) -> None:
  """Refuse, without a slow import, what could not be written.

  Args:
    name: of a format.
    output: the folder that is to be made.

  Raises:
    UserError: the format needs a package, or there is something at the folder's
      place.
  """
  for package in NEEDS.get(name, ()):
    if importlib.util.find_spec(package) is None:
      raise UserError(
        f'--format={name} needs the package {package}: pip install '
        "'jaxuda[export]', or from a clone -r requirements/export.txt"
      )
  path = pathlib.Path(output).absolute()
  if path.exists() and (not path.is_dir() or any(path.iterdir())):
    raise UserError(
      f'--output={output} is there and not an empty folder: give another one.'
    )
  if path == pathlib.Path.cwd():
    raise UserError(
      f'--output={output} is the folder you are in, in whose place a new '
      'one is put: name another one.'
    )


def load(name: str) -> ModuleType:
  """Return the format's file of that name.

  Raises:
    UserError: there is none, and names the nearest.
  """
  return names.load(sys.modules[__name__], name, 'format')
