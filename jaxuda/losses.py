"""Losses: arrays in, a scalar out, natural logarithms unless said."""

import jax
import jax.numpy as jnp
import optax

from jaxuda.labels import IGNORE

Array = jax.Array

# AdaptSegNet's and ADVENT's convention for what a discriminator answers.
SOURCE, TARGET = 0.0, 1.0


def cross_entropy(logits: Array, label: Array) -> Array:
  """Mean cross entropy over valid pixels (paper 001, Eq. 1).

  (ADVENT, advent/utils/loss.py.) The originals give NaN where no pixel is
  valid; here that batch contributes 0.

  Args:
    logits: f32[B, H, W, C].
    label: u8[B, H, W], 255 where ignored.
  """
  valid = label != IGNORE
  safe = jnp.where(valid, label, 0).astype(jnp.int32)
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, safe)
  loss = jnp.where(valid, loss, 0.0)
  return loss.sum() / jnp.maximum(valid.sum(), 1)


def domain_loss(logits: Array, domain: float) -> Array:
  """Mean binary cross entropy of a discriminator's answers to one domain.

  (ADVENT, advent/utils/func.py, bce_loss.)

  Args:
    logits: f32[...], logits of 'target'.
    domain: SOURCE or TARGET.
  """
  return optax.sigmoid_binary_cross_entropy(logits, domain).mean()
