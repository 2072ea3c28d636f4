"""ADVENT: adversarial alignment of self-information maps.

Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in
Semantic Segmentation", CVPR 2019; advent/domain_adaptation/train_UDA.py.
"""

from jaxuda import adversarial
from jaxuda.models.discriminators import one_a_head
from jaxuda.views import self_information

STREAMS = ('source', 'target')


def discriminators(config) -> dict:
  """One a head."""
  return one_a_head(config)


def segmenter_terms(outputs, batch, discriminate, rng, config) -> dict:
  """The target's maps shall look like the source's."""
  del batch, rng
  return adversarial.fool(outputs, discriminate, _viewer(outputs, config))


def discriminator_terms(outputs, batch, discriminate, rng, config) -> dict:
  """Tell the two domains' maps apart."""
  del batch, rng
  return adversarial.tell_apart(outputs, discriminate, _viewer(outputs, config))


def _viewer(outputs, config):
  def see(stream, head):
    return self_information(outputs[stream].logits[head], config.information)

  return see
