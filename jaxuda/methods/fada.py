"""FADA: a discriminator that tells classes and domains apart at once.

Wang et al., "Classes Matter: A Fine-grained Adversarial Approach to
Cross-domain Semantic Segmentation", ECCV 2020; train_adv.py. This is its
second stage; the first is source-only.
"""

import jax
import jax.numpy as jnp

from jaxuda import labels
from jaxuda.losses import SOURCE, TARGET, class_domain_loss
from jaxuda.models import deeplab, layers
from jaxuda.models.discriminators import PixelDiscriminator

STREAMS = ('source', 'target')


def discriminators(config) -> dict:
  """One, on the features that the main head reads."""
  return {
    'main': PixelDiscriminator(
      channels=deeplab.feature_channels(config.model),
      num_classes=len(labels.space(config.classes).classes),
      width=config.discriminator.width,
      dtype=jnp.dtype(config.model.dtype),
    )
  }


def segmenter_terms(outputs, batch, discriminate, rng, config) -> dict:
  """The target's features shall pass for the source's, class by class.

  Paper 003, Eq. 5: the class knowledge is the target's own and a constant, so
  that the gradient reaches the features alone.
  """
  del batch, rng
  return {'adv_main': _loss(outputs['target'], discriminate, SOURCE, config)}


def discriminator_terms(outputs, batch, discriminate, rng, config) -> dict:
  """Paper 003, Eq. 4; each domain's loss counts one half."""
  del batch, rng

  def half(stream, domain):
    return _loss(outputs[stream], discriminate, domain, config) / 2

  return {'d_main': half('source', SOURCE) + half('target', TARGET)}


def _loss(outputs, discriminate, domain, config):
  logits = outputs.logits['main']
  # Also the source's knowledge is predicted, and what is clipped is not
  # normalised again (train_adv.py; the paper's section 3.2 does not say so).
  knowledge = jax.lax.stop_gradient(
    jnp.minimum(jax.nn.softmax(logits), config.clip)
  )
  answer = layers.resize(
    discriminate('main', outputs.features),
    logits.shape[1:3],
    config.model.align_corners,
  )
  return class_domain_loss(answer, knowledge, domain)
