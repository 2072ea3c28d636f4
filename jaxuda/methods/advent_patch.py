"""Random-patch alignment of self-information maps (ALP-GI).

Cicek et al., "Spatial Class Distribution Shift in Unsupervised Domain
Adaptation: Local Alignment Comes to Rescue", ACCV 2020. The discriminator sees
d(g(h(f(x)))) (Eq. 3): a patch g, cut at random out of the self-information map
h of the full image's prediction f. With `patch.size` None, g is the identity
and this is the paper's global baseline, AGP-GI.
"""

import jax

from jaxuda import views
from jaxuda.errors import UserError
from jaxuda.losses import SOURCE, TARGET, domain_loss
from jaxuda.models.discriminators import FCDiscriminator

STREAMS = ('source', 'target')


def check(config) -> None:
  """Refuses a patch larger than an image, and unknown forms.

  Raises:
    UserError: names the key, and both sizes.
  """
  for key, choices in (
    ('objective', ('flipped', 'reversal')),
    ('information', views.SELF_INFORMATION),
  ):
    if config[key] not in choices:
      raise UserError(f'config.{key}={config[key]!r} is none of {choices}.')
  if config.patch.count < 1:
    raise UserError(
      f'config.patch.count={config.patch.count} must be at least 1.'
    )
  patch = config.patch.size
  for stream in STREAMS if patch is not None else ():
    s = config[stream]
    size = s.crop if any(s.crop) else s.size
    if size is not None and not 32 <= patch <= min(size):
      raise UserError(
        f'config.patch.size={patch} must be 32 (the discriminator halves it '
        f'five times) to {min(size)}, or None: {stream} maps are {size}.'
      )


def discriminators(config) -> dict:
  """One discriminator a head."""
  levels = ('main', 'aux') if config.model.multi_level else ('main',)
  d = config.discriminator
  return {level: FCDiscriminator(d.width, d.outputs) for level in levels}


def segmenter_terms(source, target, discriminate, rng, config) -> dict:
  """The segmenter's half of Eq. 4, in one of the two forms of `objective`.

  'flipped' minimises the loss of calling the target's patches source, as the
  paper's baseline ADVENT does; 'reversal' is Eq. 4 to the letter: it maximises
  the discriminator's loss on both domains.
  """
  see = _viewer(rng, config)
  terms = {}
  for level in target.logits:
    on_target = discriminate(level, see(target, level, 'target'))
    if config.objective == 'flipped':
      terms[f'adv_{level}'] = domain_loss(on_target, SOURCE)
    else:
      on_source = discriminate(level, see(source, level, 'source'))
      terms[f'adv_{level}'] = -(
        domain_loss(on_source, SOURCE) + domain_loss(on_target, TARGET)
      )
  return terms


def discriminator_terms(source, target, discriminate, rng, config) -> dict:
  """The discriminator's half of Eq. 4; each domain counts one half."""
  if config.patch.redraw:
    rng = jax.random.fold_in(rng, 1)
  see = _viewer(rng, config)
  terms = {}
  for level in target.logits:
    on_source = discriminate(level, see(source, level, 'source'))
    on_target = discriminate(level, see(target, level, 'target'))
    terms[f'd_{level}'] = (
      domain_loss(on_source, SOURCE) + domain_loss(on_target, TARGET)
    ) / 2
  return terms


def _viewer(rng, config):
  """Returns see(outputs, level, domain): g(h(f(x))) for that domain."""
  patch = config.patch.size

  def see(outputs, level, domain):
    logits = outputs.logits[level]
    maps = views.self_information(logits, config.information)
    if patch is None:
      return maps
    count, *size = maps.shape[:3]
    # The heads of one image share its patch; the domains draw their own.
    key = jax.random.fold_in(rng, 2 + (domain == 'target'))
    shape = (count, config.patch.count)
    return views.crop(maps, views.patch_corners(key, shape, size, patch), patch)

  return see
