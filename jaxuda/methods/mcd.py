"""MCD: two heads spread apart on the target, the encoder brings them together.

Saito, Watanabe, Ushiku and Harada, "Maximum Classifier Discrepancy for
Unsupervised Domain Adaptation", CVPR 2018; segmentation/adapt_trainer.py. There
is no discriminator: the second player are the heads themselves.

The original takes three kinds of steps in turn, each at new weights: all on the
source; the heads away from each other on the target, while the source's loss
holds them; and four times the encoder towards their agreement. Here they are
one step at the old weights, in which the encoder's term has four times its
weight: equal to first order in the learning rate. What differs is of second
order, and momentum and decay, which count once.
"""

import jax
import jax.numpy as jnp

from jaxuda import methods
from jaxuda.losses import cross_entropy
from jaxuda.methods import Method
from jaxuda.utils.errors import UserError

Array = jax.Array


def check(config) -> None:
  """Refuse a network that has not two heads on the same features.

  Raises:
    UserError: names the keys.
  """
  methods.require_twin_heads(config)
  methods.refuse_accumulation(config, 'what the heads learn of the source')
  if any(config.model.detail):
    raise UserError(
      'method mcd needs config.model.detail=(0,0): one resolution.'
    )


def segmenter_losses(ctx) -> dict:
  """Return mcd_encoder, the heads' discrepancy; mcd_heads, its negative; more.

  The first one trains what comes before the heads alone, the second one the
  heads alone (adapt_trainer.py, steps C and B). In step B they learn the source
  once more: ce_heads.
  """
  return {
    'mcd_encoder': discrepancy(ctx.decode('target', 'features')),
    'mcd_heads': -discrepancy(ctx.decode('target', 'heads')),
    'ce_heads': sum(
      cross_entropy(
        logits,
        ctx.inputs['source'].label,
        ctx.config.ce_reduction,
        soft=ctx.inputs['source'].soft,
        focal_gamma=ctx.config.focal_gamma,
      )
      for logits in ctx.decode('source', 'heads').values()
    ),
  }


def discrepancy(logits: dict[str, Array]) -> Array:
  """Return the mean absolute difference of two heads' probabilities.

  Over images, pixels and classes (loss.py, Diff2d): at most 2 / C.

  Args:
    logits: {'main', 'aux': f32[B, H, W, C]}.
  """
  p, q = (jax.nn.softmax(logits[head]) for head in ('main', 'aux'))
  return jnp.abs(p - q).mean()


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  check=check,
)
