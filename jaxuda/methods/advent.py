"""ADVENT: adversarial alignment of self-information maps.

Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in
Semantic Segmentation", CVPR 2019; advent/domain_adaptation/train_UDA.py.
"""

from jaxuda.methods import _adversarial as adversarial
from jaxuda.methods._views import self_information
from jaxuda.models.discriminators import one_a_head

STREAMS = ('source', 'target')


def discriminators(config) -> dict:
  """One a head."""
  return one_a_head(config)


def segmenter_terms(turn) -> dict:
  """The target's maps shall look like the source's."""
  return adversarial.fool(turn, information_maps(turn))


def discriminator_terms(turn) -> dict:
  """Tell the two domains' maps apart."""
  return adversarial.tell_apart(turn, information_maps(turn))


def information_maps(turn):
  """Returns see(stream, head): the self-information of a head's softmax."""

  def see(stream, head):
    logits = turn.outputs[stream].logits[head]
    return self_information(logits, turn.config.information)

  return see
