"""MinEnt: the target's predictions shall be certain.

Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in
Semantic Segmentation", CVPR 2019, section 3.1; train_UDA.py, train_minent. Two
additions are in the paper and not in the code: training on the pixels of the
highest entropy alone (MinEnt+ER), and the class-ratio prior.
"""

import jax.numpy as jnp

from jaxuda import labels
from jaxuda.losses import class_prior, entropy
from jaxuda.methods.source_only import (  # noqa: F401
  discriminator_terms,
  discriminators,
)
from jaxuda.utils.errors import UserError

STREAMS = ('source', 'target')


def check(config) -> None:
  """Refuses a prior that is none, and no pixels.

  Raises:
    UserError: names the key.
  """
  if not 0 < config.entropy_share <= 1:
    raise UserError(
      f'config.entropy_share={config.entropy_share} must be above 0 and at '
      'most 1: the share of the pixels that train.'
    )
  shares, classes = config.prior.shares, labels.space(config.classes).classes
  if shares is None:
    return
  if not all(isinstance(share, int | float) for share in shares):
    raise UserError(f'config.prior.shares={shares} must be numbers.')
  if len(shares) != len(classes) or abs(sum(shares) - 1) > 0.01:
    raise UserError(
      f'config.prior.shares has {len(shares)} numbers of sum {sum(shares):.3g}; '
      f'it must have one for each of {len(classes)} classes, of sum 1.'
    )


def segmenter_terms(turn) -> dict:
  """The mean entropy of each head on the target, and the prior's term."""
  config, terms = turn.config, {}
  for head, logits in turn.outputs['target'].logits.items():
    terms[f'ent_{head}'] = entropy(logits, config.entropy_share)
    if config.prior.shares is not None:
      expected = config.prior.relax * jnp.array(config.prior.shares)
      terms[f'prior_{head}'] = class_prior(logits, expected)
  return terms
