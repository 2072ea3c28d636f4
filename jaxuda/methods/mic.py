"""MIC: the target is recognised from a third of its patches.

Hoyer, Dai, Wang and Van Gool, "MIC: Masked Image Consistency for Context-
Enhanced Domain Adaptation", CVPR 2023, on DACS or, with the feature distance,
on DAFormer. The segmenter sees the jittered target through a random mask, and
learns the teacher's labels of the whole image (section 3.2).
"""

import jax.numpy as jnp

from jaxuda.methods import Example, Method, _augment
from jaxuda.methods import _self_training as self_training
from jaxuda.models import segmenter
from jaxuda.utils.settings import Setting


def masked(ctx, taught) -> Example:
  """Return the target behind a mask, with the teacher's labels and weights."""
  target, mask = ctx.batch['target']['image'], ctx.config.mask
  image = self_training.strong(ctx, target, 'masked')
  visible = _augment.block_mask(
    ctx.rng('mask', len(target)), target.shape[1:3], mask.block, mask.ratio
  )
  # What is 0 behind the encoder's normalisation.
  hidden = jnp.array(segmenter.mean_color(ctx.config))
  image = jnp.where(visible[..., None], image, hidden)
  return Example(image, taught.label, weight=taught.weight)


def inputs(ctx) -> dict:
  """Return the source, what is mixed of both domains, and the masked target."""
  taught = self_training.pseudo_labels(ctx)
  return {
    'source': self_training.source_with_distance(ctx),
    'mixed': self_training.mixed(ctx, taught),
    'masked': masked(ctx, taught),
  }


METHOD = Method(
  streams=('source', 'target'),
  inputs=inputs,
  input_losses={'source': self_training.feature_distance},
  ema=self_training.ema,
  compares_with_start=self_training.has_distance,
  settings=self_training.SETTINGS
  | self_training.DISTANCE
  | {
    'mask.block': Setting(
      32, "side of a mask's blocks, pixels; 64 in crops of 1024", least=1
    ),
    'mask.ratio': Setting(
      0.7, 'share of the blocks that are hidden', least=0.0, most=1.0
    ),
  },
  check=self_training.check,
)
