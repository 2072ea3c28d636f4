"""What decoders with a main and perhaps an auxiliary head share."""

import functools
import operator
from collections.abc import Mapping

import jax

Array = jax.Array


def heads(decoder_config) -> tuple[str, ...]:
  """Return the names of the logits, the main head's first."""
  return ('main', 'aux') if decoder_config.multi_level else ('main',)


def params_of(params: dict, names: Mapping[str, str]) -> dict[str, dict]:
  """Return each head's own parameters, of those of a decoder.

  Args:
    params: the decoder's.
    names: of the heads' parameters, by the head.
  """
  return {head: params[name] for head, name in names.items() if name in params}


def group_beside_norms(path: tuple[str, ...], config) -> str:
  """Return a parameter's group; batch norm's affine ones may be frozen."""
  of_norm = path[-2].endswith('bn')
  return 'frozen' if of_norm and not config.train_bn_affine else 'head'


def predicted(logits: dict[str, Array], summed: bool) -> Array:
  """Return the prediction's logits: the main head's, or the sum of all."""
  if summed:
    return functools.reduce(operator.add, logits.values())
  return logits['main']
