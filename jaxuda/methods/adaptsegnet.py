"""AdaptSegNet: adversarial alignment of the segmentations themselves.

Tsai et al., "Learning to Adapt Structured Output Space for Semantic
Segmentation", CVPR 2018; train_gta2cityscapes_multi.py.
"""

import jax

from jaxuda import adversarial
from jaxuda.models.discriminators import one_a_head

STREAMS = ('source', 'target')


def discriminators(config) -> dict:
  """One a head."""
  return one_a_head(config)


def segmenter_terms(outputs, batch, discriminate, rng, config) -> dict:
  """The target's segmentations shall look like the source's."""
  del batch, rng
  return adversarial.fool(outputs, discriminate, _viewer(outputs), config.gan)


def discriminator_terms(outputs, batch, discriminate, rng, config) -> dict:
  """Tell the two domains' segmentations apart."""
  del batch, rng
  return adversarial.tell_apart(
    outputs, discriminate, _viewer(outputs), config.gan
  )


def _viewer(outputs):
  return lambda stream, head: jax.nn.softmax(outputs[stream].logits[head])
