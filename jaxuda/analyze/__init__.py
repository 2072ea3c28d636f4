"""The papers' analyses, one file each, found by name.

An analysis exports

  define_flags(command): defines its flags, in a cli.Flags
  run(given, output) -> the sentence that says what is found; `given` has the
    flags' values; NAME.csv and NAME.png are in the folder `output` then

and a docstring that says what is measured, where the paper has it, and what is
ours. What several of them need is in the files that begin with an underscore.
"""

import sys
from types import ModuleType

from jaxuda.utils import names


def analyses() -> list[str]:
  """Return the names of all analyses."""
  return names.modules(sys.modules[__name__])


def load(name: str) -> ModuleType:
  """Return the analysis of that name; a UserError names the nearest."""
  return names.load(sys.modules[__name__], name, 'analysis')
