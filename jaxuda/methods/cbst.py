"""Self-training: cross entropy on the source and on the target's pseudo labels.

Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training" (CBST), ECCV 2018, and "Confidence Regularized
Self-Training" (CRST), ICCV 2019; crst_seg.py. The step has both cross
entropies; here is CRST's model regulariser. Its label regulariser, LRENT, is a
matter of the labels: `pseudo.soft`.
"""

from jaxuda import methods
from jaxuda.losses import smoothness
from jaxuda.methods.source_only import (  # noqa: F401
  discriminator_terms,
  discriminators,
)
from jaxuda.utils.errors import UserError

STREAMS = ('source', 'target')


def check(config) -> None:
  """Refuses a target without labels, and a mean that parts cannot share.

  Raises:
    UserError: names the key.
  """
  if not config.target.labels:
    raise UserError(
      'config.target.labels=None: self-training needs the pseudo labels of a '
      'run, or a folder of them.'
    )
  if config.weights.kld_main:
    methods.refuse_parts(config, "MRKLD's term")


def segmenter_terms(turn) -> dict:
  """MRKLD: the target's labelled predictions shall not be too certain."""
  logits = turn.outputs['target'].logits['main']
  return {'kld_main': smoothness(logits, turn.batch['target']['label'])}
