"""AdaptSegNet: adversarial alignment of the segmentations themselves.

Tsai et al., "Learning to Adapt Structured Output Space for Semantic
Segmentation", CVPR 2018; train_gta2cityscapes_multi.py.
"""

import jax

from jaxuda.methods import _adversarial as adversarial
from jaxuda.models.discriminators import one_a_head

STREAMS = ('source', 'target')


def discriminators(config) -> dict:
  """One a head."""
  return one_a_head(config)


def segmenter_terms(turn) -> dict:
  """One domain's segmentations shall look like the other's."""
  config = turn.config
  return adversarial.fool(
    turn, segmentations(turn), config.gan, config.direction
  )


def discriminator_terms(turn) -> dict:
  """Tell the two domains' segmentations apart."""
  return adversarial.tell_apart(turn, segmentations(turn), turn.config.gan)


def segmentations(turn):
  """Returns see(stream, head): the softmax of a head's logits."""
  return lambda stream, head: jax.nn.softmax(turn.outputs[stream].logits[head])
