"""A method's context without a network: outputs and logits are given."""

import jax
import numpy as np

from jaxuda.methods import StepContext
from jaxuda.models.segmenter import Outputs

RNG = np.random.default_rng(0)
KEYS = jax.random.split(jax.random.key(3), 2)
K = 19


def normal(*shape):
  return RNG.standard_normal(shape).astype(np.float32)


def softmax(x):
  e = np.exp(np.float64(x))
  return e / e.sum(-1, keepdims=True)


def bce(logits, domain):
  """Binary cross entropy of each logit and a domain between 0 and 1."""
  p = 1 / (1 + np.exp(-np.float64(logits)))
  return -(domain * np.log(p) + (1 - domain) * np.log(1 - p))


def outputs(logits, features=None) -> Outputs:
  """What a segmenter gives: {head: logits}, and the main head's features."""
  return Outputs(logits, {'deepest': features}, features)


def context(
  config, discriminate, shown, batch=None, params=None, step=0
) -> StepContext:
  """The context of a step in which the segmenter has shown these outputs."""
  return StepContext(
    batch=batch or {},
    config=config,
    step=step,
    keys=KEYS,
    outputs=shown,
    params=params or {},
    discriminate=discriminate,
  )
