"""Cross-City's own method: domains are told apart as a whole, and by class.

Chen et al., "No More Discrimination: Cross City Adaptation of Road Scene
Segmenters", ICCV 2017. No code was published, and the static-object priors that
the paper takes from pairs of street views are not in the published dataset.
Without them, with a non-saturating loss of the target alone as elsewhere here,
and with one network that has an output a class in the place of the paper's
separate ones, this is our reading.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from jaxuda.losses import SOURCE, TARGET
from jaxuda.methods import Method, _adversarial
from jaxuda.models import segmenter
from jaxuda.models.discriminators import PixelDiscriminator

Array = jax.Array


def discriminators(config) -> dict:
  """Return one, whose outputs are those of all classes and of none."""
  return {
    'main': PixelDiscriminator(
      channels=segmenter.main_channels(config),
      num_classes=segmenter.num_classes(config) + 1,
      width=config.discriminator.width,
      dtype=jnp.dtype(config.model.dtype),
    )
  }


def segmenter_losses(ctx) -> dict:
  """Return adv_main and adv_class: the target's cells pass for the source's."""
  whole, by_class = _halves(ctx, 'target', SOURCE)
  return {'adv_main': whole.loss, 'adv_class': by_class.loss}


def discriminator_losses(ctx) -> dict:
  """Return d_main, of all cells, and d_class, of each class's."""
  source, target = (
    _halves(ctx, stream, domain)
    for stream, domain in (('source', SOURCE), ('target', TARGET))
  )
  losses: dict = {}
  for name, ours, theirs in zip(('main', 'class'), source, target, strict=True):
    losses |= _adversarial.halves(name, ours, theirs)
  return losses


def cell_shares(label: Array, size: Sequence[int], classes: int) -> Array:
  """Return the share of each class among a cell's labelled pixels.

  The paper divides by all of its pixels.

  Args:
    label: u8[B, H, W], 255 where ignored.
    size: (h, w), of the cells.
    classes: C.

  Returns:
    f32[B, h, w, C]; zeros in a cell without labels.
  """
  one_hot = jax.nn.one_hot(label, classes)  # zeros for 255
  shares = _mean_of_cells(one_hot, size)
  return shares / jnp.maximum(shares.sum(-1, keepdims=True), 1e-6)


def class_loss(logits: Array, shares: Array, domain: float) -> Array:
  """Return the mean over the cells of sum_c share_c BCE(logit_c, domain).

  Args:
    logits: f32[B, h, w, C], of 'target'.
    shares: f32[B, h, w, C].
    domain: SOURCE or TARGET.
  """
  loss = optax.sigmoid_binary_cross_entropy(logits, domain)
  return (shares * loss).sum(-1).mean()


def _halves(ctx, stream, domain):
  """Return what the discriminator makes of a domain: of all, and by class."""
  outputs = ctx.outputs[stream]
  answers = ctx.discriminate('main', outputs.main_features)
  logits = _adversarial.of_target(answers)  # the last one without a class
  classes, size = logits.shape[-1] - 1, logits.shape[1:3]
  label = ctx.inputs[stream].label if stream == 'source' else None
  if label is None:  # soft labels of its own
    p = jax.lax.stop_gradient(jax.nn.softmax(outputs.logits['main']))
    shares = _mean_of_cells(p, size)
  else:
    shares = cell_shares(label, size, classes)
  right = (logits > 0) == (domain == TARGET)
  whole, by_class = logits[..., -1], logits[..., :-1]
  told = (shares * right[..., :-1]).sum() / jnp.maximum(shares.sum(), 1e-6)
  return (
    _adversarial.Half(
      optax.sigmoid_binary_cross_entropy(whole, domain).mean(),
      right[..., -1].mean(),
    ),
    _adversarial.Half(class_loss(by_class, shares, domain), told),
  )


def _mean_of_cells(maps, size):
  """Average f[B, H, W, C] over the pixels of each of h x w cells.

  Where they do not divide, a pixel belongs to the cell in which its centre is.
  """

  def weights(n, cells):
    cell = (2 * jnp.arange(n) + 1) * cells // (2 * n)
    one_hot = jax.nn.one_hot(cell, cells, axis=0)
    return one_hot / jnp.maximum(one_hot.sum(1, keepdims=True), 1)

  rows, columns = (
    weights(n, cells) for n, cells in zip(maps.shape[1:3], size, strict=True)
  )
  return jnp.einsum('hH,wW,bHWc->bhwc', rows, columns, maps)


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  discriminators=discriminators,
  discriminator_losses=discriminator_losses,
)
