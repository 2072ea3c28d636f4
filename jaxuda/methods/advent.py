"""ADVENT: adversarial alignment of self-information maps.

Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in
Semantic Segmentation", CVPR 2019; advent/domain_adaptation/train_UDA.py.
"""

from jaxuda.losses import SOURCE, TARGET, domain_loss
from jaxuda.models.discriminators import one_a_head
from jaxuda.views import self_information

STREAMS = ('source', 'target')


def discriminators(config) -> dict:
  """One a head."""
  return one_a_head(config)


def segmenter_terms(outputs, batch, discriminate, rng, config) -> dict:
  """The target's maps shall look like the source's."""
  del batch, rng
  return {
    f'adv_{level}': domain_loss(
      discriminate(level, self_information(logits, config.information)), SOURCE
    )
    for level, logits in outputs['target'].logits.items()
  }


def discriminator_terms(outputs, batch, discriminate, rng, config) -> dict:
  """Tell the two domains' maps apart; each half counts one half."""
  del batch, rng

  def half(level, stream, domain):
    view = self_information(outputs[stream].logits[level], config.information)
    return domain_loss(discriminate(level, view), domain) / 2

  return {
    f'd_{level}': half(level, 'source', SOURCE) + half(level, 'target', TARGET)
    for level in outputs['target'].logits
  }
