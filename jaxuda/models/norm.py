"""Batch normalisation in the modes of the papers' systems."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxuda.models import layers

Array = jax.Array

COUNTER = 'num_batches_tracked'  # torch's name of a norm's updates
MODES = ('batch', 'running', 'running_updated', 'fixed', 'frozen')


class Norm(nn.Module):
  """Batch normalisation as the papers' systems run it in training.

  Modes, while training (evaluation always uses the running statistics):
    batch: normalise by the batch's statistics, then update the running ones
      (AdaptSegNet, ADVENT, BDL, CLAN: train-mode batch norm).
    running: normalise by the running statistics as they stand, then update
      them; no gradient flows through statistics (ACCV 2020, section 4.1:
      "updated with momentum but current batch statistics are not used").
    running_updated: the same with the update first, the sentence's other
      reading.
    fixed: never updated (CRST, crst_seg.py, which trains in evaluation mode).
    frozen: the same without epsilon (FADA, core/models/layers.py).

  The running variance is the unbiased one, as torch's, and
  num_batches_tracked counts the updates, as in torch's checkpoints. Statistics
  are float32 and global over the batch however it is sharded.

  Attributes:
    mode: one of MODES.
    train: whether this forward trains.
    dtype: type of the output.
  """

  mode: str
  train: bool
  dtype: jnp.dtype = jnp.float32
  momentum: float = 0.1
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Map f[B, H, W, C] to dtype[B, H, W, C]."""
    shape = (x.shape[-1],)
    scale = layers.param(self, 'scale', nn.initializers.ones, shape)
    bias = layers.param(self, 'bias', nn.initializers.zeros, shape)
    running = (
      self.variable('batch_stats', 'mean', jnp.zeros, shape),
      self.variable('batch_stats', 'var', jnp.ones, shape),
    )
    fixed = self.mode in ('fixed', 'frozen')
    learns = not fixed and (self.train or self.is_initializing())
    if learns:
      tracked = self.variable('batch_stats', COUNTER, jnp.zeros, (), jnp.int32)
    mean, var = running[0].value, running[1].value
    epsilon = 0.0 if self.mode == 'frozen' else self.epsilon
    if not learns or self.is_initializing():
      y = _normalise(x, mean, var, scale, bias, epsilon)
      return y.astype(self.dtype)
    if self.mode == 'batch':
      y, batch_mean, batch_var = normalise_by_batch(x, scale, bias, epsilon)
    else:
      batch_mean, batch_var = _moments(x)
    count = x.size // x.shape[-1]
    unbiased = batch_var * (count / max(count - 1, 1))
    new_mean, new_var = jax.lax.stop_gradient(
      (
        mean + self.momentum * (batch_mean - mean),
        var + self.momentum * (unbiased - var),
      )
    )
    running[0].value, running[1].value = new_mean, new_var
    tracked.value = tracked.value + 1
    if self.mode == 'running':
      y = _normalise(x, mean, var, scale, bias, epsilon)
    elif self.mode == 'running_updated':
      y = _normalise(x, new_mean, new_var, scale, bias, epsilon)
    return y.astype(self.dtype)


def _moments(x):
  """Return f32 mean and biased variance of each channel of f[B, H, W, C]."""
  x = x.astype(jnp.float32)
  mean = x.mean((0, 1, 2))
  return mean, jnp.square(x - mean).mean((0, 1, 2))


def _normalise(x, mean, var, scale, bias, epsilon):
  x = x.astype(jnp.float32)
  return (x - mean) * (scale * jax.lax.rsqrt(var + epsilon)) + bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise_by_batch(
  x: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[Array, Array, Array]:
  """Normalise by the batch's moments; return f32 y, mean, biased variance.

  The gradient, of y alone, is written out: two sums over the map in place of
  the five of automatic differentiation, and only x is kept for it, in its own
  type. Mean and variance are for the running statistics, which get none.
  """
  mean, var = _moments(x)
  return _normalise(x, mean, var, scale, bias, epsilon), mean, var


def _normalise_forward(x, scale, bias, epsilon):
  y, mean, var = normalise_by_batch(x, scale, bias, epsilon)
  return (y, mean, var), (x, mean, var, scale)


def _normalise_backward(epsilon, kept, gradients):
  x, mean, var, scale = kept
  g = gradients[0]
  inverse = jax.lax.rsqrt(var + epsilon)
  normal = (x.astype(jnp.float32) - mean) * inverse
  of_bias, of_scale = g.sum((0, 1, 2)), (g * normal).sum((0, 1, 2))
  count = x.size // x.shape[-1]
  of_x = (scale * inverse) * (g - (of_bias + normal * of_scale) / count)
  return of_x.astype(x.dtype), of_scale, of_bias


normalise_by_batch.defvjp(_normalise_forward, _normalise_backward)
