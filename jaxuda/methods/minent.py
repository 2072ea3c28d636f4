"""MinEnt: the target's predictions shall be certain.

Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in
Semantic Segmentation", CVPR 2019, section 3.1; train_UDA.py, train_minent.
"""

from jaxuda.losses import entropy
from jaxuda.methods.source_only import (  # noqa: F401
  discriminator_terms,
  discriminators,
)

STREAMS = ('source', 'target')


def segmenter_terms(outputs, batch, discriminate, rng, config) -> dict:
  """The mean entropy of each head on the target."""
  del batch, discriminate, rng, config
  return {
    f'ent_{head}': entropy(logits)
    for head, logits in outputs['target'].logits.items()
  }
