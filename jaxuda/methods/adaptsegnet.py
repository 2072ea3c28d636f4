"""AdaptSegNet: adversarial alignment of the segmentations themselves.

Tsai et al., "Learning to Adapt Structured Output Space for Semantic
Segmentation", CVPR 2018; train_gta2cityscapes_multi.py.
"""

from jaxuda.losses import DOMAIN_LOSSES
from jaxuda.methods import Method, _adversarial, _views
from jaxuda.models.discriminators import one_per_head
from jaxuda.utils.settings import Setting


def segmenter_losses(ctx) -> dict:
  """Return adv_<head>: one domain's segmentations look like the other's."""
  stream, domain = _adversarial.DIRECTIONS[ctx.config.direction]
  seen = _views.segmentations(ctx.outputs[stream])
  return _adversarial.adversarial_losses(ctx, seen, domain, ctx.config.gan)


def discriminator_losses(ctx) -> dict:
  """Return d_<head>: which domain is a segmentation of?"""
  source = _views.segmentations(ctx.outputs['source'])
  target = _views.segmentations(ctx.outputs['target'])
  return _adversarial.discriminator_losses(ctx, source, target, ctx.config.gan)


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  discriminators=one_per_head,
  discriminator_losses=discriminator_losses,
  settings={
    'gan': Setting('vanilla', 'the loss of domains', tuple(DOMAIN_LOSSES)),
    'direction': Setting(
      'target_to_source',
      'whose alignment is asked for; ASS aligns the source',
      tuple(_adversarial.DIRECTIONS),
    ),
  },
)
