"""ADVENT: adversarial alignment of self-information maps.

Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in
Semantic Segmentation", CVPR 2019; advent/domain_adaptation/train_UDA.py.
"""

from jaxuda.losses import SOURCE, TARGET, domain_loss
from jaxuda.models.discriminators import FCDiscriminator
from jaxuda.views import self_information

STREAMS = ('source', 'target')


def discriminators(config) -> dict:
  """One discriminator a head."""
  levels = ('main', 'aux') if config.model.multi_level else ('main',)
  return {
    level: FCDiscriminator(config.discriminator.width) for level in levels
  }


def segmenter_terms(source, target, discriminate, rng, config) -> dict:
  """The target's maps shall look like the source's."""
  del source, rng
  return {
    f'adv_{level}': domain_loss(
      discriminate(level, self_information(logits, config.information)), SOURCE
    )
    for level, logits in target.logits.items()
  }


def discriminator_terms(source, target, discriminate, rng, config) -> dict:
  """Tell the two domains' maps apart; each half counts one half."""
  del rng
  terms = {}
  for level in target.logits:

    def half(outputs, domain, level=level):
      view = self_information(outputs.logits[level], config.information)
      return domain_loss(discriminate(level, view), domain) / 2

    terms[f'd_{level}'] = half(source, SOURCE) + half(target, TARGET)
  return terms
