"""Random-patch alignment of self-information maps (ALP-GI).

Cicek et al., "Spatial Class Distribution Shift in Unsupervised Domain
Adaptation: Local Alignment Comes to Rescue", ACCV 2020. The discriminator sees
d(g(h(f(x)))) (Eq. 3): a patch g, cut at random out of the self-information map
h of the full image's prediction f. With `patch.size` None, g is the identity
and this is the paper's global baseline, AGP-GI.
"""

import jax

from jaxuda.methods import _adversarial as adversarial
from jaxuda.methods import _views as views
from jaxuda.methods.advent import information_maps
from jaxuda.models.discriminators import one_a_head
from jaxuda.utils.errors import UserError

STREAMS = ('source', 'target')


def check(config) -> None:
  """Refuses a patch larger than an image.

  Raises:
    UserError: names the key, and both sizes.
  """
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
  """One a head."""
  return one_a_head(config)


def segmenter_terms(turn) -> dict:
  """The segmenter's half of Eq. 4, in one of the two forms of `objective`.

  'flipped' minimises the loss of calling the target's patches source, as the
  paper's baseline ADVENT does; 'reversal' is Eq. 4 to the letter: it maximises
  the discriminator's loss on both domains.
  """
  see = _patches(turn, turn.rng)
  if turn.config.objective == 'flipped':
    return adversarial.fool(turn, see)
  told = adversarial.tell_apart(turn, see)
  return {name.replace('d_', 'adv_'): -2 * loss for name, loss in told.items()}


def discriminator_terms(turn) -> dict:
  """The discriminator's half of Eq. 4; each domain counts one half."""
  rng = turn.rng
  if turn.config.patch.redraw:
    rng = _fold_in(rng, 1)
  return adversarial.tell_apart(turn, _patches(turn, rng))


def _patches(turn, rng):
  """Returns see(domain, level): g(h(f(x))) of that domain."""
  patch = turn.config.patch
  maps_of = information_maps(turn)

  def see(domain, level):
    maps = maps_of(domain, level)
    if patch.size is None:
      return maps
    images, *size = maps.shape[:3]
    # The heads of one image share its patches; the domains draw their own.
    keys = _fold_in(rng[:images], 2 + (domain == 'target'))
    corners = views.patch_corners(keys, patch.count, size, patch.size)
    return views.crop(maps, corners, patch.size)

  return see


def _fold_in(keys, number):
  return jax.vmap(jax.random.fold_in, (0, None))(keys, number)
