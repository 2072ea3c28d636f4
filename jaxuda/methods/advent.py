"""ADVENT: adversarial alignment of self-information maps.

Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in
Semantic Segmentation", CVPR 2019; advent/domain_adaptation/train_UDA.py.
"""

from jaxuda.methods import Method, _adversarial, _views
from jaxuda.models.discriminators import one_per_head
from jaxuda.utils.settings import Setting


def segmenter_losses(ctx) -> dict:
  """Return adv_<head>: the target's maps look like the source's."""
  seen = _views.information_maps(ctx.outputs['target'], ctx.config.information)
  return _adversarial.adversarial_losses(ctx, seen)


def discriminator_losses(ctx) -> dict:
  """Return d_<head>: which domain is a map of?"""
  form = ctx.config.information
  source = _views.information_maps(ctx.outputs['source'], form)
  target = _views.information_maps(ctx.outputs['target'], form)
  return _adversarial.discriminator_losses(ctx, source, target)


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  discriminators=one_per_head,
  discriminator_losses=discriminator_losses,
  settings={
    'information': Setting(
      'normalised', 'the form of the maps', _views.SELF_INFORMATION
    ),
  },
  torch_layout='advent_discriminator',
)
