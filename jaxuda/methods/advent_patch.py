"""Random-patch alignment of self-information maps (ALP-GI).

Cicek et al., "Spatial Class Distribution Shift in Unsupervised Domain
Adaptation: Local Alignment Comes to Rescue", ACCV 2020. The discriminator sees
d(g(h(f(x)))) (Eq. 3): a patch g, cut at random out of the self-information map
h of the full image's prediction f. With `patch.size` None, g is the identity
and this is the paper's global baseline, AGP-GI.
"""

from jaxuda.methods import Method, _adversarial, _views
from jaxuda.models.discriminators import one_per_head
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting

STREAMS = ('source', 'target')


def check(config) -> None:
  """Refuse a patch larger than an image.

  Raises:
    UserError: names the key, and both sizes.
  """
  patch = config.patch.size
  for stream in STREAMS if patch is not None else ():
    s = config[stream]
    size = s.crop if any(s.crop) else s.size
    if size is not None and patch > min(size):
      raise UserError(
        f'config.patch.size={patch} must be 32 to {min(size)}, or None: '
        f'{stream} maps are {size}.'
      )


def segmenter_losses(ctx) -> dict:
  """Return adv_<head>, the segmenter's half of Eq. 4, in one of two forms.

  'non_saturating' minimises the loss of calling the target's patches source, as
  the paper's baseline ADVENT does; 'minimax' is Eq. 4 to the letter: it
  maximises the discriminator's loss on both domains.
  """
  if ctx.config.objective == 'non_saturating':
    return _adversarial.adversarial_losses(ctx, _patches(ctx, 'target'))
  source, target = (_patches(ctx, stream) for stream in STREAMS)
  losses = _adversarial.discriminator_losses(ctx, source, target)
  return {f'adv_{head}': -2 * losses[f'd_{head}'] for head in target}


def discriminator_losses(ctx) -> dict:
  """Return d_<head>, the discriminator's half of Eq. 4."""
  draw = 'redrawn ' if ctx.config.patch.redraw else ''
  source, target = (_patches(ctx, stream, draw) for stream in STREAMS)
  return _adversarial.discriminator_losses(ctx, source, target)


def _patches(ctx, stream, draw=''):
  """g(h(f(x))) of a domain, {head: f32[B N, patch, patch, C]}.

  The heads of one image share its patches; the domains draw their own.
  """
  patch = ctx.config.patch
  maps = _views.information_maps(ctx.outputs[stream], ctx.config.information)
  if patch.size is None:
    return maps
  images, *size = maps['main'].shape[:3]
  keys = ctx.rng(f'{draw}patches of the {stream}', images)
  corners = _views.patch_corners(keys, patch.count, size, patch.size)
  return {h: _views.crop(x, corners, patch.size) for h, x in maps.items()}


METHOD = Method(
  streams=STREAMS,
  segmenter_losses=segmenter_losses,
  discriminators=one_per_head,
  discriminator_losses=discriminator_losses,
  settings={
    'patch.size': Setting(
      256,
      'side of the patches; None for whole maps. The discriminator halves it '
      'five times',
      least=32,
      optional=int,
    ),
    'patch.count': Setting(1, 'patches an image and step', least=1),
    'patch.redraw': Setting(
      False, 'whether the discriminator trains on patches of its own'
    ),
    'information': Setting(
      'natural', 'the form of the maps', _views.SELF_INFORMATION
    ),
    'objective': Setting(
      'non_saturating',
      "the segmenter's half of Eq. 4",
      ('non_saturating', 'minimax'),
    ),
  },
  check=check,
  torch_layout='advent_discriminator',
)
