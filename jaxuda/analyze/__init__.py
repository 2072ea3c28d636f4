"""The papers' analyses: one file an experiment, found by its name.

An experiment's module has

  define_flags(command): its flags, in a cli.Flags
  run(given, output) -> the sentence that says what was found; given has the
    flags' values; <name>.csv and <name>.png are in the folder `output` then

and a docstring that says what is measured, where the paper has it, and what is
ours. What several of them need is in the files that begin with an underscore.
"""

import sys
from types import ModuleType

from jaxuda.utils import names


def experiments() -> list[str]:
  """Return the names of the experiments."""
  return names.modules(sys.modules[__name__])


def load(name: str) -> ModuleType:
  """Return the experiment's module of that name; UserError for an unknown one."""
  return names.load(sys.modules[__name__], name, 'analysis')
