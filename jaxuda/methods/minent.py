"""MinEnt: the target's predictions become certain.

Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in
Semantic Segmentation", CVPR 2019, section 3.1; train_UDA.py, train_minent. Two
additions are in the paper and not in the code: training on the pixels of the
highest entropy alone (MinEnt+ER), and the class-ratio prior.
"""

import jax.numpy as jnp

from jaxuda import labels
from jaxuda.losses import class_prior, entropy
from jaxuda.methods import Method
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting


def check(config) -> None:
  """Refuse an invalid class prior.

  Raises:
    UserError: names the key.
  """
  shares, classes = config.prior.shares, labels.space(config.classes).classes
  if shares is None:
    return
  if len(shares) != len(classes) or abs(sum(shares) - 1) > 0.01:
    raise UserError(
      f'config.prior.shares has {len(shares)} numbers of sum '
      f'{sum(shares):.3g}; '
      f'it must have one for each of {len(classes)} classes, of sum 1.'
    )


def segmenter_losses(ctx) -> dict:
  """Return ent_<head>, the target's mean entropy; and the prior's terms."""
  config, losses = ctx.config, {}
  for head, logits in ctx.outputs['target'].logits.items():
    losses[f'ent_{head}'] = entropy(logits, config.entropy_share)
    if config.prior.shares is not None:
      expected = config.prior.relax * jnp.array(config.prior.shares)
      losses[f'prior_{head}'] = class_prior(logits, expected)
  return losses


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  settings={
    'entropy_share': Setting(
      1.0,
      "of each image's pixels those of the highest entropy train: 0.3, say; "
      'the code has all',
      least=1e-3,
      most=1.0,
    ),
    'prior.shares': Setting(
      None,
      "each class's share of the source's pixels, which predictions reach but "
      'for the factor `relax`; None for no such term',
      optional=tuple,
      item=float,
    ),
    'prior.relax': Setting(0.5, 'the factor', least=0.0),
  },
  check=check,
)
