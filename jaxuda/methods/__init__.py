"""One file a method, found by its name.

A method module has

  STREAMS: what is read and forwarded, in this order, 'source' first
  discriminators(config) -> {name: flax module}
  segmenter_terms(outputs, batch, discriminate, rng, config) -> {name: f32[]}
  discriminator_terms(outputs, batch, discriminate, rng, config) -> {...}
  check(config), optional: raises UserError for settings that cannot work

`outputs` holds a models.deeplab.Outputs and `batch` the images and labels of
each stream (of the target pseudo labels at most), `discriminate(name, view)`
applies a discriminator, and `rng` holds a key for each place in the batch, the
same in both calls of one step.
What `discriminator_terms` receives is cut off from the segmenter's gradient.
The cross entropy on the source, and on a target that has pseudo labels, is the
step's own and not a method's. Each term is multiplied by the weight of its name
in `config.weights`.
"""

import importlib
import pkgutil
from types import ModuleType

from jaxuda.errors import UserError


def load(name: str) -> ModuleType:
  """The method module of that name; a UserError lists those there are."""
  names = sorted(module.name for module in pkgutil.iter_modules(__path__))
  if name not in names:
    raise UserError(f'method {name!r} is none of {", ".join(names)}.')
  return importlib.import_module(f'jaxuda.methods.{name}')
