"""FADA: a discriminator that tells classes and domains apart at once.

Wang et al., "Classes Matter: A Fine-grained Adversarial Approach to
Cross-domain Semantic Segmentation", ECCV 2020; train_adv.py. This is its
second stage; the first is source-only, the third configs/fada_distill.py.
"""

import jax
import jax.numpy as jnp

from jaxuda import labels, methods
from jaxuda.losses import SOURCE, TARGET, class_domain_loss
from jaxuda.models import deeplab, layers
from jaxuda.models.discriminators import PixelDiscriminator
from jaxuda.utils.errors import UserError

STREAMS = ('source', 'target')
ENCODINGS = ('soft', 'hard', 'binary')


def check(config) -> None:
  """Refuses a clip that is no probability, and parts where few pixels count.

  Raises:
    UserError: names the key.
  """
  if not 0 < config.clip <= 1:
    raise UserError(
      f'config.clip={config.clip} must be above 0 and at most 1: a probability.'
    )
  if config.encoding == 'hard':
    methods.refuse_parts(config, 'the loss of hard labels')


def discriminators(config) -> dict:
  """One, on the features that the main head reads."""
  classes = len(labels.space(config.classes).classes)
  return {
    'main': PixelDiscriminator(
      channels=deeplab.feature_channels(config.model),
      num_classes=1 if config.encoding == 'binary' else classes,
      width=config.discriminator.width,
      dtype=jnp.dtype(config.model.dtype),
    )
  }


def segmenter_terms(turn) -> dict:
  """The target's features shall pass for the source's, class by class.

  Paper 003, Eq. 6: the class knowledge is the target's own and a constant, so
  that the gradient reaches the features alone.
  """
  return {'adv_main': _loss(turn, 'target', SOURCE)}


def discriminator_terms(turn) -> dict:
  """Paper 003, Eq. 5; each domain's loss counts one half."""
  source, target = _loss(turn, 'source', SOURCE), _loss(turn, 'target', TARGET)
  return {'d_main': source / 2 + target / 2}


def encode(logits, encoding: str, clip: float):
  """The class knowledge of paper 003, Eqs. 7 and 8, and where there is any.

  Also the source's is predicted (train_adv.py; the paper does not say so).

  Args:
    logits: f32[B, H, W, K].
    encoding: 'soft', the softmax, cut at `clip` and not normalised again;
      'hard', the likeliest class where it reaches `clip`, elsewhere nothing
      (in the paper, not in the code); 'binary', no class at all: Eqs. 1 and 4.
    clip: the paper's 0.9.

  Returns:
    f32[B, H, W, K or 1] and bool[B, H, W], both constants.
  """
  logits = jax.lax.stop_gradient(logits)
  everywhere = jnp.ones(logits.shape[:-1], bool)
  if encoding == 'binary':
    return jnp.ones((*logits.shape[:-1], 1)), everywhere
  p = jax.nn.softmax(logits)
  if encoding == 'soft':
    return jnp.minimum(p, clip), everywhere
  return jax.nn.one_hot(p.argmax(-1), p.shape[-1]), p.max(-1) >= clip


def _loss(turn, stream, domain):
  config, outputs = turn.config, turn.outputs[stream]
  logits = outputs.logits['main']
  answer = layers.resize(
    turn.discriminate('main', outputs.features),
    logits.shape[1:3],
    config.model.align_corners,
  )
  knowledge, kept = encode(logits, config.encoding, config.clip)
  return class_domain_loss(answer, knowledge, domain, kept)
