"""PyCDA: the segmenter's own labels of pixels, boxes and whole images.

Lian, Lv, Duan and Gong, "Constructing Self-motivated Pyramid Curriculums for
Cross-Domain Semantic Segmentation: A Non-Adversarial Approach", ICCV 2019;
train_pycda.py. It takes a step on the source and then one on the target; here
both are one, equal to first order in the learning rate.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxuda import methods
from jaxuda.methods import Method
from jaxuda.models import layers
from jaxuda.utils.settings import Setting

Array = jax.Array


def check(config) -> None:
  """Refuse parts of a batch, of which few pixels may count.

  Raises:
    UserError: names the key.
  """
  methods.refuse_accumulation(config, 'the loss of own labels')


def priors(config, labels) -> dict[str, np.ndarray]:
  """Return shares, f32[C]: of the source's labelled pixels each class's."""
  del config
  counts = labels.class_counts.sum(0)
  return {'shares': np.asarray(counts / counts.sum(), np.float32)}


def curriculum(ctx) -> dict:
  """Return pixel_main, box_main and balance_main, of the target."""
  logits = ctx.outputs['target'].logits['main']
  threshold = ctx.config.pyramid.threshold
  # Of logits, and not of probabilities (train_pycda.py).
  sides = ctx.config.pyramid.boxes
  boxes = [layers.box_means(logits, (side, side)) for side in sides]
  return {
    'pixel_main': own_labels([logits], threshold),
    'box_main': own_labels(boxes, threshold),
    'balance_main': balance(logits, ctx.priors['shares']),
  }


def own_labels(maps: Iterable[Array], threshold: float) -> Array:
  """Return the mean cross entropy with the likeliest class, where it is likely.

  Over the places of all maps whose largest probability is above the threshold;
  as in the code, what is certain, whose loss is 0, does not count either.

  Args:
    maps: of logits, f32[B, h, w, C].
    threshold: a probability.

  Returns:
    f32[], 0 where no place counts.
  """
  losses, counts = [], []
  for logits in maps:
    likeliest = jax.lax.stop_gradient(logits).argmax(-1)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, likeliest)
    kept = (jax.nn.softmax(logits).max(-1) > threshold) & (loss > 0)
    losses.append(jnp.where(kept, loss, 0.0).sum())
    counts.append(kept.sum())
  return sum(losses) / jnp.maximum(sum(counts), 1)


def balance(logits: Array, shares: Array) -> Array:
  """Return how far the batch's class shares are from the source's.

  The mean over the classes of the binary cross entropy between the mean softmax
  and the share.

  Args:
    logits: f32[B, H, W, C].
    shares: f32[C].
  """
  found = jax.nn.softmax(logits).mean((0, 1, 2))
  epsilon = 1e-6
  loss = -shares * jnp.log(found + epsilon)
  loss -= (1 - shares) * jnp.log(1 - found + epsilon)
  return loss.mean()


METHOD = Method(
  streams=('source', 'target'),
  input_losses={'target': curriculum},
  priors=priors,
  check=check,
  settings={
    'pyramid.boxes': Setting((4, 8), 'sides of the boxes, pixels', least=1),
    'pyramid.threshold': Setting(
      0.5, 'of the probability of a label', least=0.0, most=1.0
    ),
  },
)
