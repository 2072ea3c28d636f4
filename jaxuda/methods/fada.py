"""FADA: a discriminator that tells classes and domains apart at once.

Wang et al., "Classes Matter: A Fine-grained Adversarial Approach to
Cross-domain Semantic Segmentation", ECCV 2020; train_adv.py. This is its
second stage; the first is source-only, the third configs/fada_distill.py.
"""

import jax
import jax.numpy as jnp

from jaxuda import labels, methods
from jaxuda.losses import (
  SOURCE,
  TARGET,
  class_domain_accuracy,
  class_domain_loss,
)
from jaxuda.methods import Method, _adversarial
from jaxuda.models import layers, segmenter
from jaxuda.models.discriminators import PixelDiscriminator
from jaxuda.utils.settings import Setting


def check(config) -> None:
  """Refuse parts of a batch where few pixels count.

  Raises:
    UserError: names the key.
  """
  if config.encoding == 'hard':
    methods.refuse_accumulation(config, 'the loss of hard labels')


def discriminators(config) -> dict:
  """Return one, on the features that the main head reads."""
  classes = len(labels.space(config.classes).classes)
  return {
    'main': PixelDiscriminator(
      channels=segmenter.main_channels(config),
      num_classes=1 if config.encoding == 'binary' else classes,
      width=config.discriminator.width,
      dtype=jnp.dtype(config.model.dtype),
    )
  }


def segmenter_losses(ctx) -> dict:
  """Return adv_main: the target's features pass for the source's, by class.

  Eq. 6: the class knowledge is the target's own and a constant, so that the
  gradient reaches the features alone.
  """
  return {'adv_main': _half(ctx, 'target', SOURCE).loss}


def discriminator_losses(ctx) -> dict:
  """Return d_main, Eq. 5; each domain's loss counts one half."""
  return _adversarial.halves(
    'main', _half(ctx, 'source', SOURCE), _half(ctx, 'target', TARGET)
  )


def encode(logits, encoding: str, clip: float):
  """Return the class knowledge of Eqs. 7 and 8, and where there is any.

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


def _half(ctx, stream, domain):
  config, outputs = ctx.config, ctx.outputs[stream]
  logits = outputs.logits['main']
  of_domain = layers.resize(
    ctx.discriminate('main', outputs.main_features),
    logits.shape[1:3],
    config.model.align_corners,
  )
  knowledge, kept = encode(logits, config.encoding, config.clip)
  return _adversarial.Half(
    class_domain_loss(of_domain, knowledge, domain, kept),
    class_domain_accuracy(of_domain, domain, kept),
  )


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  discriminators=discriminators,
  discriminator_losses=discriminator_losses,
  settings={
    'encoding': Setting(
      'soft',
      'the class knowledge: the softmax cut at `clip`; the likeliest class of '
      'pixels that reach it; or none at all',
      ('soft', 'hard', 'binary'),
    ),
    'clip': Setting(0.9, 'a probability', least=1e-3, most=1.0),
  },
  check=check,
  torch_layout='fada',
)
