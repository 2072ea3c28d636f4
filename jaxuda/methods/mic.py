"""MIC: the target is recognised from a third of its patches.

Hoyer, Dai, Wang and Van Gool, "MIC: Masked Image Consistency for Context-
Enhanced Domain Adaptation", CVPR 2023. It goes with any method: `mic+daformer`
is DAFormer whose segmenter also sees the jittered target through a random mask,
and learns the teacher's labels of the whole image (section 3.2).
"""

import dataclasses

import jax.numpy as jnp

from jaxuda.methods import Example, Method, _augment
from jaxuda.methods import _self_training as self_training
from jaxuda.models import segmenter
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting

SETTINGS = {
  'mask.block': Setting(
    32, "side of a mask's blocks, pixels; 64 in crops of 1024", least=1
  ),
  'mask.ratio': Setting(
    0.7, 'share of the blocks that are hidden', least=0.0, most=1.0
  ),
}


def masked(ctx) -> Example:
  """Return the target behind a mask, with the teacher's labels and weights."""
  taught = self_training.pseudo_labels(ctx)
  target, mask = ctx.batch['target']['image'], ctx.config.mask
  image = self_training.strong(ctx, target, 'masked')
  visible = _augment.block_mask(
    ctx.rng('mask', len(target)), target.shape[1:3], mask.block, mask.ratio
  )
  # What is 0 behind the encoder's normalisation.
  hidden = jnp.array(segmenter.mean_color(ctx.config))
  image = jnp.where(visible[..., None], image, hidden)
  return Example(image, taught.label, weight=taught.weight)


def add_to(method: Method) -> Method:
  """Return a method with the masked target as one more of its inputs.

  A method without a teacher gets one, DAFormer's.

  Raises:
    UserError: it does not read the target.
  """
  if 'target' not in method.streams:
    raise UserError('mic goes with methods that read the target.')

  def inputs(ctx):
    return {**method.inputs(ctx), 'masked': masked(ctx)}

  def check(config):
    self_training.check_teacher(config)
    method.check(config)

  return dataclasses.replace(
    method,
    inputs=inputs,
    ema=method.ema or self_training.ema,
    settings={
      **self_training.LABELLING,
      **self_training.STRONG,
      **SETTINGS,
      **method.settings,
    },
    check=check,
  )
