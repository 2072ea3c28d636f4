"""AdaptPatch: the target's patches have the modes of the source's.

Tsai, Sohn, Schulter and Chandraker, "Domain Adaptation for Structured Output
via Discriminative Patch Representations", ICCV 2019. No code was published:
what is left open is our reading, as the networks' sizes.

A classifier H of the modes, which K-means finds in the source's label patches,
reads the segmentations; the target's answers are aligned with the source's,
beside AdaptSegNet's alignment of whole maps. H trains with the discriminators,
on the source's modes; the segmenter's terms go through it as it is. In the
paper it is a part of the segmenter and the adversary moves it, too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.cluster import vq

from jaxuda import methods
from jaxuda.labels import IGNORE
from jaxuda.losses import SOURCE, TARGET, domain_accuracy, domain_loss
from jaxuda.methods import Method, _adversarial, _views
from jaxuda.models import segmenter
from jaxuda.models.discriminators import one_per_head
from jaxuda.models.fine_discriminators import (
  ModeClassifier,
  VectorDiscriminator,
)
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting

Array = jax.Array
_CELLS = 2  # of a patch, in each direction
_MAPS, _PATCHES = 2_000, 20_000  # that K-means sees at most


def check(config) -> None:
  """Refuse patches that are larger than images or have no cells, and parts.

  Raises:
    UserError: names the keys.
  """
  methods.refuse_accumulation(config, "the classifier's loss of modes")
  patch = tuple(config.modes.patch)
  if any(side % _CELLS for side in patch):
    raise UserError(f'config.modes.patch={patch}: both sides must be even.')
  for stream in ('source', 'target'):
    s = config[stream]
    size = s.crop if any(s.crop) else s.size
    if size is not None and any(
      p > n for p, n in zip(patch, size, strict=True)
    ):
      raise UserError(
        f'config.modes.patch={patch} does not fit into the {stream} maps, '
        f'{size}.'
      )


def discriminators(config) -> dict:
  """Return those of whole maps, H and the one of H's answers."""
  classes, modes = segmenter.num_classes(config), config.modes
  return one_per_head(config) | {
    'modes': ModeClassifier(
      classes, modes.count, tuple(modes.patch), modes.width
    ),
    'patch': VectorDiscriminator(modes.count, (modes.width, 2 * modes.width)),
  }


def priors(config, labels) -> dict[str, np.ndarray]:
  """Return modes, f32[K, 4 C]: the centres of the source's label patches.

  K-means from k-means++ on up to 20,000 patches of up to 2,000 labels, which
  are drawn, as its start, by one seed for all runs.

  Raises:
    UserError: there are fewer patches than modes.
  """
  classes, modes = segmenter.num_classes(config), config.modes
  found = []
  for label in labels.label_maps(_MAPS):
    cells, kept = histograms(jnp.asarray(label)[None], classes, modes.patch)
    found.append(np.asarray(cells)[np.asarray(kept)])
  patches = np.concatenate(found).astype(np.float64)
  if len(patches) < modes.count:
    raise UserError(
      f'config.modes.count={modes.count}: the source has only {len(patches)} '
      'labelled patches of the size config.modes.patch.'
    )
  rng = np.random.default_rng(0)
  chosen = rng.permutation(len(patches))[:_PATCHES]
  centres, _ = vq.kmeans2(
    patches[chosen], modes.count, minit='++', seed=rng, missing='warn'
  )
  return {'modes': np.asarray(centres, np.float32)}


def segmenter_losses(ctx) -> dict:
  """Return adv_<head>, of whole maps; ce_patch, and adv_patch, through H."""
  source, target = (_segmentation(ctx, s) for s in ('source', 'target'))
  seen = _views.segmentations(ctx.outputs['target'])
  answers = jax.nn.softmax(ctx.discriminate('modes', target))
  return {
    **_adversarial.adversarial_losses(ctx, seen),
    'ce_patch': _mode_loss(ctx, source),
    'adv_patch': domain_loss(ctx.discriminate('patch', answers), SOURCE),
  }


def discriminator_losses(ctx) -> dict:
  """Return d_<head>; d_modes, H's own, and d_patch, which does not train H."""
  source, target = (
    _views.segmentations(ctx.outputs[s]) for s in ('source', 'target')
  )

  def half(maps, domain):
    answers = jax.nn.softmax(ctx.discriminate('modes', maps['main']))
    logits = ctx.discriminate('patch', jax.lax.stop_gradient(answers))
    return _adversarial.Half(
      domain_loss(logits, domain), domain_accuracy(logits, domain)
    )

  return {
    **_adversarial.discriminator_losses(ctx, source, target),
    'd_modes': _mode_loss(ctx, source['main']),
    **_adversarial.halves('patch', half(source, SOURCE), half(target, TARGET)),
  }


def histograms(
  label: Array, classes: int, patch: tuple[int, int]
) -> tuple[Array, Array]:
  """Return the class shares in the four cells of each patch.

  Of a cell's labelled pixels; a cell without any has zeros.

  Args:
    label: u8[B, H, W], 255 where ignored.
    classes: C.
    patch: (height, width); what does not fill a patch is left out.

  Returns:
    f32[B, U, V, 4 C], cell after cell in reading order, and bool[B, U, V],
    whether at least half of a patch is labelled.
  """
  height, width = (side // _CELLS for side in patch)
  u, v = (n // side for n, side in zip(label.shape[1:], patch, strict=True))
  label = label[:, : u * patch[0], : v * patch[1]]
  # B, U, cell row, row, V, cell column, column.
  places = label.reshape(len(label), u, _CELLS, height, v, _CELLS, width)
  counts = (places[..., None] == jnp.arange(classes)).sum((3, 6))
  labelled = (places != IGNORE).sum((3, 6))
  shares = counts / jnp.maximum(labelled, 1)[..., None]
  shares = jnp.moveaxis(shares, 2, 3)  # B, U, V, cell row, cell column, C
  kept = labelled.sum((2, 4)) * 2 >= patch[0] * patch[1]
  return shares.reshape(len(label), u, v, -1), kept


def nearest(cells: Array, centres: Array) -> Array:
  """Return the index of the nearest centre of each vector.

  Args:
    cells: f32[..., n].
    centres: f32[K, n].
  """
  apart = jnp.square(cells[..., None, :] - centres).sum(-1)
  return apart.argmin(-1)


def _segmentation(ctx, stream):
  return jax.nn.softmax(ctx.outputs[stream].logits['main'])


def _mode_loss(ctx, maps):
  """Return the mean cross entropy of H with the modes of source labels."""
  answers, modes = ctx.discriminate('modes', maps), ctx.config.modes
  label = ctx.inputs['source'].label
  cells, kept = histograms(label, maps.shape[-1], tuple(modes.patch))
  mode = nearest(cells, ctx.priors['modes'])
  loss = optax.softmax_cross_entropy_with_integer_labels(answers, mode)
  return jnp.where(kept, loss, 0.0).sum() / jnp.maximum(kept.sum(), 1)


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  discriminators=discriminators,
  discriminator_losses=discriminator_losses,
  priors=priors,
  settings={
    'modes.count': Setting(50, "K, of the source's label patches", least=2),
    'modes.patch': Setting(
      (32, 64), '(height, width) of a patch, in pixels', least=2, length=2
    ),
    'modes.width': Setting(
      256,
      'of the hidden layer of H; the discriminator has it and twice it',
      least=1,
    ),
  },
  check=check,
)
