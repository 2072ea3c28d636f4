"""Joint global-local alignment: pixel by pixel, after a global alignment.

The ICIP 2020 paper, on top of a model that AdaptSegNet, ADVENT or BDL has
aligned globally. A discriminator sees the classes of one pixel alone (Eq. 1).
The text's paragraph on the mixture module is lost but for its first words, and
no code was published: both forms here are our reading.
"""

import jax
import jax.numpy as jnp

from jaxuda import labels, methods
from jaxuda.losses import (
  SOURCE,
  TARGET,
  binary_cross_entropy,
  domain_accuracy,
)
from jaxuda.methods import Method, _adversarial, _views
from jaxuda.models import layers
from jaxuda.models.discriminators import OnePixelDiscriminator, one_per_head
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting


def check(config) -> None:
  """Refuse pairs of images without a partner, and parts of a batch.

  Raises:
    UserError: names the keys.
  """
  local = config.local
  source, target = config.source.batch_size, config.target.batch_size
  if local.mixture and source != target:
    raise UserError(
      f'config.source.batch_size={source} and '
      f'config.target.batch_size={target} must be the same: '
      'config.local.mixture mixes pairs of images.'
    )
  if local.mixture or local.leave_out_background:
    methods.refuse_accumulation(config, 'the local alignment')


def discriminators(config) -> dict:
  """Return the local one, and one a head where the global alignment goes on."""
  classes = len(labels.space(config.classes).classes)
  local = OnePixelDiscriminator(classes, config.local.width)
  going_on = one_per_head(config) if config.local.global_alignment else {}
  return going_on | {'local': local}


def segmenter_losses(ctx) -> dict:
  """Return adv_local, adv_mixture: every pixel looks like the source's.

  Of the target, and of the mixture; and the global terms where they go on.
  """
  target = _classes(ctx, 'target')
  logits = ctx.discriminate('local', target)
  losses = {'adv_local': binary_cross_entropy(logits, SOURCE)}
  if ctx.config.local.mixture:
    maps, _, kept = _mixture(ctx)
    logits = ctx.discriminate('local', maps)
    losses['adv_mixture'] = binary_cross_entropy(logits, SOURCE, kept)
  if ctx.config.local.global_alignment:
    losses |= _adversarial.adversarial_losses(ctx, _global(ctx, 'target'))
  return losses


def discriminator_losses(ctx) -> dict:
  """Return Eq. 1 pixel by pixel; the source's background is left out."""
  source = ctx.discriminate('local', _classes(ctx, 'source'))
  target = ctx.discriminate('local', _classes(ctx, 'target'))
  losses = _adversarial.halves(
    'local',
    _half(source, SOURCE, _foreground(ctx)),
    _half(target, TARGET),
  )
  if ctx.config.local.mixture:
    maps, domain, kept = _mixture(ctx)
    logits = ctx.discriminate('local', maps)
    losses['d_mixture'] = binary_cross_entropy(logits, domain, kept)
  if ctx.config.local.global_alignment:
    losses |= _adversarial.discriminator_losses(
      ctx, _global(ctx, 'source'), _global(ctx, 'target')
    )
  return losses


def _half(logits, domain, kept=None):
  return _adversarial.Half(
    binary_cross_entropy(logits, domain, kept),
    domain_accuracy(logits, domain, kept=kept),
  )


def _classes(ctx, stream):
  """Return the main head's softmax, f32[B, H, W, K]."""
  return jax.nn.softmax(ctx.outputs[stream].logits['main'])


def _global(ctx, stream):
  """Return what the global discriminators are shown, by head."""
  if ctx.config.local.global_alignment == 'information':
    return _views.information_maps(ctx.outputs[stream], ctx.config.information)
  return _views.segmentations(ctx.outputs[stream])


def _foreground(ctx):
  """Return bool[B, H, W], where the source is labelled; all, if not asked."""
  label = ctx.batch['source']['label']
  if ctx.config.local.leave_out_background:
    return label != labels.IGNORE
  return jnp.ones(label.shape, bool)


def _mixture(ctx):
  """Mix r source + (1 - r) target; and how much is target, and what counts.

  Returns:
    f32[B, H, W, K], f32[B, H, W] and bool[B, H, W], of the target's size.
  """
  source, target = _classes(ctx, 'source'), _classes(ctx, 'target')
  foreground = _foreground(ctx)
  images, *size = target.shape[:3]
  if ctx.config.local.mixture == 'images':
    # The two maps are laid over each other, at one ratio for the whole image.
    share = (1, 1)
    align = ctx.config.model.align_corners
    source = layers.resize(source, size, align)
    known = foreground[..., None].astype(jnp.float32)
    foreground = layers.resize(known, size, align)[..., 0] > 0.999
  else:
    # Every pixel of the target meets one of the source, drawn anywhere.
    share = tuple(size)
    source, foreground = jax.vmap(_draw_pixels, (0, 0, 0, None))(
      ctx.rng('partners', images), source, foreground, share
    )
  local = ctx.config.local
  ratio = jax.vmap(lambda key: mixing_ratio(key, share, local))(
    ctx.rng('ratios', images)
  )
  mixed = ratio[..., None] * source + (1 - ratio[..., None]) * target
  return mixed, jnp.broadcast_to(1 - ratio, foreground.shape), foreground


def _draw_pixels(key, source, foreground, size):
  at = jax.random.randint(key, size, 0, foreground.size)
  flat = source.reshape(-1, source.shape[-1])
  return flat[at], foreground.reshape(-1)[at]


def mixing_ratio(key, shape, local):
  """Draw r ~ Beta(alpha, alpha), kept `gap` away from one half.

  (Xu et al., "Adversarial Domain Adaptation with Domain Mixup", which the paper
  cites; Mixup_RevGrad/RevGrad_mixup.py. What is too near is moved to the edge.)
  """
  r = jax.random.beta(key, local.alpha, local.alpha, shape)
  side = jnp.where(r >= 0.5, 1.0, -1.0)
  return 0.5 + side * jnp.maximum(jnp.abs(r - 0.5), local.gap)


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  discriminators=discriminators,
  discriminator_losses=discriminator_losses,
  settings={
    'local.width': Setting(
      64, "pix2pix's pixel discriminator, which the paper takes", least=1
    ),
    'local.leave_out_background': Setting(
      True, "whether the source's unlabelled pixels count for nothing"
    ),
    # 'images' is our reading of "output mixture" and of the paper's reference
    # to domain mixup; a discriminator of single pixels tells the two apart by
    # nothing but what meets what.
    'local.mixture': Setting(
      'images',
      'None; two maps at one ratio laid over each other; or random pairs of '
      'pixels at a ratio each',
      ('images', 'pixels'),
      optional=str,
    ),
    'local.alpha': Setting(
      2.0, 'r ~ Beta(alpha, alpha), as domain mixup', least=1e-3
    ),
    'local.gap': Setting(
      0.3, 'how far r stays from one half, as there', least=0.0, most=0.5
    ),
    # The paper's two steps follow one another: outputs are "already globally
    # aligned".
    'local.global_alignment': Setting(
      None,
      'what the global alignment beside the local one goes on with: None, '
      'segmentations (AdaptSegNet, BDL) or information (ADVENT)',
      ('segmentations', 'information'),
      optional=str,
    ),
    'information': Setting(
      'normalised', 'the form of its maps', _views.SELF_INFORMATION
    ),
  },
  check=check,
)
