"""What decoders with a main and perhaps an auxiliary head share."""

import functools
import operator

import jax

Array = jax.Array


def heads(decoder_config) -> tuple[str, ...]:
  """Return the names of the logits, the main head's first."""
  return ('main', 'aux') if decoder_config.multi_level else ('main',)


def predicted(logits: dict[str, Array], summed: bool) -> Array:
  """Return the prediction's logits: the main head's, or the sum of all."""
  if summed:
    return functools.reduce(operator.add, logits.values())
  return logits['main']
