"""Self-training: cross entropy on the source and on the target's pseudo labels.

Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training" (CBST), ECCV 2018, and "Confidence Regularized
Self-Training" (CRST), ICCV 2019; crst_seg.py. The step has both cross
entropies; here are CRST's model regularisers, each least where a prediction is
uniform. Its label regulariser, LRENT, is a matter of the labels: `pseudo.soft`.
"""

from jaxuda import losses, methods
from jaxuda.methods import Method
from jaxuda.utils.errors import UserError

# A term's name to its loss. Only MRKLD's is in the code; the others are written
# from the paper.
REGULARISERS = {
  'kld_main': losses.smoothness,  # MRKLD
  'l2_main': losses.squared_length,  # MRL2
  'negentropy_main': losses.negative_entropy,  # MRENT
}


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
  for term in REGULARISERS:
    if config.loss_weights.get(term):
      methods.refuse_accumulation(config, f'the term {term}')


def segmenter_losses(ctx) -> dict:
  """Return REGULARISERS: labelled predictions are not too certain."""
  logits = ctx.outputs['target'].logits['main']
  label = ctx.batch['target']['label']
  return {term: loss(logits, label) for term, loss in REGULARISERS.items()}


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  check=check,
)
