"""Joint global-local alignment: pixel by pixel, after a global alignment.

Paper 000 (ICIP 2020), on top of a model that AdaptSegNet, ADVENT or BDL has
aligned globally: `init`. A discriminator sees the classes of one pixel alone,
in the game of Eq. 1. The text's paragraph on the mixture module is lost but for
its first words, and no code was published: both forms here are our reading.
"""

import jax
import jax.numpy as jnp

from jaxuda import labels, methods
from jaxuda.losses import SOURCE, TARGET, binary_cross_entropy
from jaxuda.methods import _adversarial as adversarial
from jaxuda.methods.adaptsegnet import segmentations
from jaxuda.methods.advent import information_maps
from jaxuda.models import layers
from jaxuda.models.discriminators import OnePixelDiscriminator, one_a_head
from jaxuda.utils.errors import UserError

STREAMS = ('source', 'target')
MIXTURES = (None, 'images', 'pixels')
GLOBAL_GAMES = {
  None: None,
  'segmentations': segmentations,
  'information': information_maps,
}


def check(config) -> None:
  """Refuses ratios that are none, and pairs of images without a partner.

  Raises:
    UserError: names the keys.
  """
  local = config.local
  if not 0 <= local.gap <= 0.5:
    raise UserError(
      f'config.local.gap={local.gap} must be from 0 to 0.5: how far the ratio '
      'stays from one half.'
    )
  if not local.alpha > 0:
    raise UserError(f'config.local.alpha={local.alpha} must be above 0.')
  source, target = config.source.batch_size, config.target.batch_size
  if local.mixture and source != target:
    raise UserError(
      f'config.source.batch_size={source} and config.target.batch_size={target} '
      'must be the same: config.local.mixture mixes pairs of images.'
    )
  if local.mixture or local.leave_out_background:
    methods.refuse_parts(config, 'the local alignment')


def discriminators(config) -> dict:
  """The local one, and one a head where the global game goes on."""
  classes = len(labels.space(config.classes).classes)
  local = OnePixelDiscriminator(classes, config.local.width)
  going_on = one_a_head(config) if config.local.global_game else {}
  return going_on | {'local': local}


def segmenter_terms(turn) -> dict:
  """Every pixel of the target, and of the mixture, shall look like the source's."""
  see = segmentations(turn)
  answer = turn.discriminate('local', see('target', 'main'))
  terms = {'adv_local': binary_cross_entropy(answer, SOURCE)}
  if turn.config.local.mixture:
    maps, _, kept = _mixture(turn, see)
    answer = turn.discriminate('local', maps)
    terms['adv_mixture'] = binary_cross_entropy(answer, SOURCE, kept)
  if game := GLOBAL_GAMES[turn.config.local.global_game]:
    terms |= adversarial.fool(turn, game(turn))
  return terms


def discriminator_terms(turn) -> dict:
  """Eq. 1 pixel by pixel; the source's background is left out."""
  see = segmentations(turn)

  def half(stream, domain, kept=None):
    answer = turn.discriminate('local', see(stream, 'main'))
    return binary_cross_entropy(answer, domain, kept) / 2

  source = half('source', SOURCE, _foreground(turn))
  terms = {'d_local': source + half('target', TARGET)}
  if turn.config.local.mixture:
    maps, domain, kept = _mixture(turn, see)
    answer = turn.discriminate('local', maps)
    terms['d_mixture'] = binary_cross_entropy(answer, domain, kept)
  if game := GLOBAL_GAMES[turn.config.local.global_game]:
    terms |= adversarial.tell_apart(turn, game(turn))
  return terms


def _foreground(turn):
  """bool[B, H, W]: where the source's label is a class; all, if not asked."""
  label = turn.batch['source']['label']
  if turn.config.local.leave_out_background:
    return label != labels.IGNORE
  return jnp.ones(label.shape, bool)


def _mixture(turn, see):
  """r source + (1 - r) target, how much it is target, and where it counts.

  Returns:
    f32[B, H, W, K], f32[B, H, W] and bool[B, H, W], of the target's size.
  """
  source, target = see('source', 'main'), see('target', 'main')
  foreground = _foreground(turn)
  images, *size = target.shape[:3]
  keys = jax.vmap(jax.random.split)(turn.rng[:images])
  if turn.config.local.mixture == 'images':
    # The two maps are laid over each other, at one ratio for the whole image.
    share = (images, 1, 1)
    source = layers.resize(source, size, turn.config.model.align_corners)
    known = foreground[..., None].astype(jnp.float32)
    known = layers.resize(known, size, turn.config.model.align_corners)
    foreground = known[..., 0] > 0.999
  else:
    # Every pixel of the target meets one of the source, drawn anywhere.
    share = (images, *size)
    source, foreground = jax.vmap(_draw_pixels, (0, 0, 0, None))(
      keys[:, 1], source, foreground, tuple(size)
    )
  ratio = jax.vmap(lambda key: mixing_ratio(key, share[1:], turn.config.local))(
    keys[:, 0]
  )
  mixed = ratio[..., None] * source + (1 - ratio[..., None]) * target
  return mixed, jnp.broadcast_to(1 - ratio, foreground.shape), foreground


def _draw_pixels(key, source, foreground, size):
  at = jax.random.randint(key, size, 0, foreground.size)
  flat = source.reshape(-1, source.shape[-1])
  return flat[at], foreground.reshape(-1)[at]


def mixing_ratio(key, shape, local):
  """r ~ Beta(alpha, alpha), kept `gap` away from one half.

  (Xu et al., "Adversarial Domain Adaptation with Domain Mixup", which paper 000
  cites; Mixup_RevGrad/RevGrad_mixup.py. What is too near is moved to the edge.)
  """
  r = jax.random.beta(key, local.alpha, local.alpha, shape)
  side = jnp.where(r >= 0.5, 1.0, -1.0)
  return 0.5 + side * jnp.maximum(jnp.abs(r - 0.5), local.gap)
