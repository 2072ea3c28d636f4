"""ASS: alignment of semantics with a few labelled target images.

Wang et al., "Alleviating Semantic-level Shift: A Semi-supervised Domain
Adaptation Method for Semantic Segmentation", CVPRW 2020. Three streams: the
labelled source, the target, and `labelled`, the few target images with labels,
whose cross entropy is the step's own (Eq. 9). The source is aligned with the
target, not the other way round. No code was published.
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
from jaxuda.methods import Method, _adversarial, _views
from jaxuda.models import segmenter
from jaxuda.models.discriminators import ClassDiscriminator, one_per_head
from jaxuda.utils.settings import Setting


def check(config) -> None:
  """Refuse parts of a batch where classes are aligned.

  Raises:
    UserError: names the key.
  """
  if config.semantics:
    methods.refuse_accumulation(config, 'the alignment of classes')


def discriminators(config) -> dict:
  """Return D_g, one a head, and D_s where semantics are aligned."""
  heads = one_per_head(config)
  if not config.semantics:
    return heads
  semantic = ClassDiscriminator(
    segmenter.main_channels(config),
    len(labels.space(config.classes).classes),
    config.discriminator.hidden,
  )
  return heads | {'semantic': semantic}


def segmenter_losses(ctx) -> dict:
  """Return GA's terms (Eq. 2), and adv_semantic (Eqs. 5 and 7).

  The source's segmentations, and its classes, pass for the target's.
  """
  seen = _views.segmentations(ctx.outputs['source'])
  losses = _adversarial.adversarial_losses(ctx, seen, TARGET)
  if ctx.config.semantics:
    losses['adv_semantic'] = _semantic_half(ctx, 'source', TARGET).loss
  return losses


def discriminator_losses(ctx) -> dict:
  """Return Eq. 3, and Eq. 6 or 8 on the source and the labelled target."""
  source = _views.segmentations(ctx.outputs['source'])
  target = _views.segmentations(ctx.outputs['target'])
  losses = _adversarial.discriminator_losses(ctx, source, target)
  if ctx.config.semantics:
    losses |= _adversarial.halves(
      'semantic',
      _semantic_half(ctx, 'source', SOURCE),
      _semantic_half(ctx, 'labelled', TARGET),
    )
  return losses


def _semantic_half(ctx, stream, domain):
  features = ctx.outputs[stream].main_features.astype(jnp.float32)
  label = downsample(ctx.batch[stream]['label'], features.shape[1:3])
  classes = len(labels.space(ctx.config.classes).classes)
  known = jax.nn.one_hot(label, classes)  # a row of zeros where ignored
  if ctx.config.semantics == 'vectors':
    vectors, present = class_vectors(features, known)
    logits = ctx.discriminate('semantic', vectors)
    known, kept = jnp.eye(classes), present
  else:
    logits = ctx.discriminate('semantic', features)
    kept = label != labels.IGNORE
  return _adversarial.Half(
    class_domain_loss(logits, known, domain, kept),
    class_domain_accuracy(logits, domain, kept),
  )


def class_vectors(features, known):
  """Return the mean feature of each class in each image (Eq. 4).

  Args:
    features: f32[B, h, w, n].
    known: f32[B, h, w, K], one-hot labels.

  Returns:
    f32[B, K, n], 0 where a class is absent (0 / 0 in Eq. 4), and bool[B, K]:
    whether it is present.
  """
  total = jnp.einsum('bhwk,bhwn->bkn', known, features)
  pixels = known.sum((1, 2))
  return total / jnp.maximum(pixels, 1)[..., None], pixels > 0


def downsample(label, size):
  """Return the label at the middle of each cell, u8[B, H, W] -> [B, *size].

  Pillow's nearest neighbour, as all labels are resized here; unstated.
  """
  rows, columns = (
    (jnp.arange(small) * 2 + 1) * large // (2 * small)
    for small, large in zip(size, label.shape[1:3], strict=True)
  )
  return label[:, rows][:, :, columns]


METHOD = Method(
  streams=('source', 'labelled', 'target'),
  segmenter_losses=segmenter_losses,
  discriminators=discriminators,
  discriminator_losses=discriminator_losses,
  settings={
    'semantics': Setting(
      'pixels',
      'what is aligned by classes: None (GA), vectors (FCSA), pixels (CSA)',
      ('vectors', 'pixels'),
      optional=str,
    ),
    'discriminator.hidden': Setting(1024, 'channels inside of D_s', least=1),
  },
  check=check,
)
