"""One file a method, found by its name.

A method module has

  STREAMS: what is read and forwarded, in this order, 'source' first
  discriminators(config) -> {name: flax module}
  segmenter_terms(turn) -> {name: f32[]}
  discriminator_terms(turn) -> {name: f32[]}
  check(config), optional: raises UserError for settings that cannot work

`turn` is a Turn: what the step has computed. What `discriminator_terms`
receives is cut off from the segmenter's gradient. The cross entropy on the
source, and on every other stream that has labels, is the step's own and not a
method's. Each term is multiplied by the weight of its name in `config.weights`.
"""

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import jax

from jaxuda.models.deeplab import Outputs
from jaxuda.utils.errors import UserError


class Turn(NamedTuple):
  """What a method sees when it is a player's turn in one step.

  Attributes:
    outputs: of each stream.
    batch: images and labels of each stream; of the target pseudo labels at most.
    discriminate: applies a discriminator: (name, what it sees) -> its answer.
    rng: key[B], one for each place in the batch, the same in both turns.
    params: the segmenter's.
    step: i32[], from 0.
    config: the experiment's, a ConfigDict.
  """

  outputs: dict[str, Outputs]
  batch: dict[str, dict[str, jax.Array]]
  discriminate: Callable[[str, jax.Array], jax.Array]
  rng: jax.Array
  params: dict
  step: jax.Array
  config: Any


def refuse_parts(config, what: str) -> None:
  """Raises UserError where a step goes through its batch in parts.

  Args:
    config: an experiment's.
    what: of the method's is a mean over the pixels that count in a whole batch,
      of which parts have different numbers.
  """
  if config.iter_size > 1:
    raise UserError(
      f'config.iter_size={config.iter_size}: {what} is a mean over the pixels '
      'that count in the whole batch.'
    )


def load(name: str) -> ModuleType:
  """The method module of that name; a UserError lists those there are."""
  names = sorted(module.name for module in pkgutil.iter_modules(__path__))
  if name not in names:
    raise UserError(f'method {name!r} is none of {", ".join(names)}.')
  return importlib.import_module(f'jaxuda.methods.{name}')
