"""ASS: alignment of semantics with a few labelled target images.

Wang et al., "Alleviating Semantic-level Shift: A Semi-supervised Domain
Adaptation Method for Semantic Segmentation" (paper 004). Three streams: the
labelled source, the target, and `labelled`, the few target images with labels,
whose cross entropy is the step's own (Eq. 9). The source is aligned with the
target, not the other way round. No code was published.
"""

import jax
import jax.numpy as jnp

from jaxuda import labels, methods
from jaxuda.losses import SOURCE, TARGET, class_domain_loss
from jaxuda.methods import _adversarial as adversarial
from jaxuda.methods.adaptsegnet import segmentations
from jaxuda.models import deeplab
from jaxuda.models.discriminators import ClassDiscriminator, one_a_head
from jaxuda.utils.errors import UserError

STREAMS = ('source', 'labelled', 'target')
SEMANTICS = (None, 'vectors', 'pixels')


def check(config) -> None:
  """Refuses a stream of no images, and parts of a batch.

  Raises:
    UserError: names the key.
  """
  if config.labelled.count is not None and config.labelled.count < 1:
    raise UserError(
      f'config.labelled.count={config.labelled.count} must be at least 1; '
      'with none, GA alone is configs/ass_global.py.'
    )
  if config.semantics:
    methods.refuse_parts(config, 'the alignment of classes')


def discriminators(config) -> dict:
  """D_g, one a head, and D_s where semantics are aligned."""
  if config.semantics is None:
    return one_a_head(config)
  classes = len(labels.space(config.classes).classes)
  channels = deeplab.feature_channels(config.model)
  d_s = ClassDiscriminator(channels, classes, config.discriminator.hidden)
  return one_a_head(config) | {'semantic': d_s}


def segmenter_terms(turn) -> dict:
  """GA (Eq. 2), and the source's classes shall pass for the target's (5, 7)."""
  terms = adversarial.fool(
    turn, segmentations(turn), direction='source_to_target'
  )
  if turn.config.semantics:
    terms['adv_semantic'] = _semantic_loss(turn, 'source', TARGET)
  return terms


def discriminator_terms(turn) -> dict:
  """Eq. 3, and Eq. 6 or 8 on the source and the labelled target."""
  terms = adversarial.tell_apart(turn, segmentations(turn))
  if turn.config.semantics:
    source = _semantic_loss(turn, 'source', SOURCE)
    target = _semantic_loss(turn, 'labelled', TARGET)
    terms['d_semantic'] = source / 2 + target / 2
  return terms


def _semantic_loss(turn, stream, domain):
  features = turn.outputs[stream].features.astype(jnp.float32)
  label = downsample(turn.batch[stream]['label'], features.shape[1:3])
  classes = len(labels.space(turn.config.classes).classes)
  known = jax.nn.one_hot(label, classes)  # a row of zeros where ignored
  if turn.config.semantics == 'vectors':
    vectors, present = class_vectors(features, known)
    answer = turn.discriminate('semantic', vectors)
    return class_domain_loss(answer, jnp.eye(classes), domain, present)
  answer = turn.discriminate('semantic', features)
  return class_domain_loss(answer, known, domain, label != labels.IGNORE)


def class_vectors(features, known):
  """The mean feature of each class in each image (Eq. 4).

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
  """The label at the middle of each feature's cell: u8[B, H, W] -> [B, h, w].

  Pillow's nearest neighbour, as all labels are resized here; unstated.
  """
  rows, columns = (
    (jnp.arange(small) * 2 + 1) * large // (2 * small)
    for small, large in zip(size, label.shape[1:3], strict=True)
  )
  return label[:, rows][:, :, columns]
