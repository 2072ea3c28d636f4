"""Self-training: cross entropy on the source and on the target's pseudo labels.

Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training" (CBST), ECCV 2018, and "Confidence Regularized
Self-Training" (CRST), ICCV 2019; crst_seg.py. The step has both cross
entropies; here is CRST's model regulariser. Its label regulariser, LRENT, is a
matter of the labels: `pseudo.soft`.
"""

from jaxuda import methods
from jaxuda.losses import smoothness
from jaxuda.methods import Method
from jaxuda.utils.errors import UserError


def check(config) -> None:
  """Refuse a target without labels, and a mean that parts cannot share.

  Raises:
    UserError: names the key.
  """
  if not (config.target.labels or config.target.labels_stage):
    raise UserError(
      'config.target.labels=None: self-training needs the pseudo labels of a '
      'run, or a folder of them.'
    )
  if config.loss_weights.kld_main:
    methods.refuse_accumulation(config, "MRKLD's term")


def segmenter_losses(ctx) -> dict:
  """Return kld_main, MRKLD's: labelled predictions are not too certain."""
  logits = ctx.outputs['target'].logits['main']
  return {'kld_main': smoothness(logits, ctx.batch['target']['label'])}


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  check=check,
)
