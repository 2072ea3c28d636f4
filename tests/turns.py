"""A method's turn without a network: outputs and answers are given."""

import jax
import numpy as np

from jaxuda import methods

RNG = np.random.default_rng(0)
KEYS = jax.random.split(jax.random.key(3), 2)
K = 19


def normal(*shape):
  return RNG.standard_normal(shape).astype(np.float32)


def softmax(x):
  e = np.exp(np.float64(x))
  return e / e.sum(-1, keepdims=True)


def bce(answers, domain):
  """Binary cross entropy of each answer to a domain between 0 and 1."""
  p = 1 / (1 + np.exp(-np.float64(answers)))
  return -(domain * np.log(p) + (1 - domain) * np.log(1 - p))


def turn(config, discriminate, shown, batch=None, params=None, step=0):
  return methods.Turn(
    shown, batch or {}, discriminate, KEYS, params or {}, step, config
  )
