"""The papers' analyses: one file an experiment, found by its name.

An experiment's module has

  define_flags(given): its flags, in an absl FlagValues
  run(given, output) -> the sentence that says what was found; <name>.csv and
    <name>.png are in the folder `output` then

and a docstring that says what is measured, where the paper has it, and what is
ours. What several of them need is in the files that begin with an underscore.
"""

import importlib
import pkgutil
from types import ModuleType

from absl import flags

from jaxuda.config import loading as config_lib
from jaxuda.utils.errors import UserError


def names() -> list[str]:
  """The names of the experiments."""
  found = (module.name for module in pkgutil.iter_modules(__path__))
  return sorted(name for name in found if not name.startswith('_'))


def load(name: str) -> ModuleType:
  """The experiment's module of that name; UserError for an unknown one."""
  if name not in names():
    raise UserError(
      f'there is no experiment {name!r}{config_lib.nearest(name, names())}'
    )
  return importlib.import_module(f'jaxuda.analyze.{name}')


def flag_values(name: str) -> flags.FlagValues:
  """The flags of an experiment, and --output, which all of them have."""
  given = flags.FlagValues()
  flags.DEFINE_string(
    'output',
    None,
    f'Folder for the answers; default: runs/analyze/{name}.',
    flag_values=given,
  )
  load(name).define_flags(given)
  return given
