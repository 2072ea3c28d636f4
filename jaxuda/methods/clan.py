"""CLAN: adversarial alignment, weighted by how much two heads disagree.

Luo et al., "Taking a Closer Look at Domain Shift: Category-level Adversaries
for Semantics Consistent Domain Adaptation", CVPR 2019; CLAN_train.py. Both
heads read layer4; the prediction is the softmax of their sum (`model.twin`).
"""

import jax
import jax.numpy as jnp
import optax

from jaxuda import optim
from jaxuda.losses import SOURCE, TARGET, domain_loss
from jaxuda.models import layers
from jaxuda.models.discriminators import for_classes
from jaxuda.utils.errors import UserError

STREAMS = ('source', 'target')


def check(config) -> None:
  """Refuses a network that has not two heads on the same features.

  Raises:
    UserError: names the keys.
  """
  if not (config.model.multi_level and config.model.twin):
    raise UserError(
      'method clan needs config.model.multi_level=True and '
      'config.model.twin=True: two heads on layer4.'
    )


def discriminators(config) -> dict:
  """One, for the sum of both heads."""
  return {'main': for_classes(config)}


def segmenter_terms(turn) -> dict:
  """Fool it where the heads disagree; and let the heads' weights differ."""
  damping = _damping(turn)
  weight = disagreement(turn.outputs['target'].logits)
  answer = _answer(turn, 'target')
  return {
    'adv_main': damping * _local_loss(turn, answer, SOURCE, weight),
    'heads': damping * weight_similarity(turn.params),
  }


def discriminator_terms(turn) -> dict:
  """Tell the domains apart; the losses are not halved."""
  weight = disagreement(turn.outputs['target'].logits)
  source = domain_loss(_answer(turn, 'source'), SOURCE)
  target = _local_loss(turn, _answer(turn, 'target'), TARGET, weight)
  return {'d_main': source + target}


def disagreement(logits):
  """1 - cos(p1, p2) of the heads' softmax: {head: f32[B, H, W, C]} -> [B, H, W].

  The gradient flows into it when it is the segmenter's turn, as in the code.
  """
  main, aux = (jax.nn.softmax(logits[head]) for head in ('main', 'aux'))
  return 1 - optax.cosine_similarity(main, aux, epsilon=1e-8)


def weighted_loss(answer, domain, weight, epsilon: float, local: float):
  """Mean of epsilon l + local weight l, l a pixel's binary cross entropy.

  (CLAN, utils/loss.py, WeightedBCEWithLogitsLoss.)

  Args:
    answer, weight: f32[B, H, W].
    domain: SOURCE or TARGET.
    epsilon, local: the published 0.4, and 40 for GTA5, 10 for SYNTHIA.
  """
  loss = optax.sigmoid_binary_cross_entropy(answer, domain)
  return ((epsilon + local * weight) * loss).mean()


def weight_similarity(params):
  """cos(W5, W6) + 1 of the heads' parameters, biases among them."""
  first, second = (
    jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params[head])])
    for head in ('layer5', 'layer6')
  )
  return optax.cosine_similarity(first, second, epsilon=1e-8) + 1


def _answer(turn, stream):
  """f32[B, H, W]: the discriminator's map at the image's size."""
  logits = turn.outputs[stream].logits
  answer = turn.discriminate(
    'main', jax.nn.softmax(logits['main'] + logits['aux'])
  )
  size = logits['main'].shape[1:3]
  align = turn.config.model.align_corners
  return layers.resize(answer[..., None], size, align)[..., 0]


def _local_loss(turn, answer, domain, weight):
  """Plain for the first steps, weighted afterwards."""
  clan = turn.config.clan
  weighted = weighted_loss(answer, domain, weight, clan.epsilon, clan.local)
  plain = domain_loss(answer, domain)
  return jnp.where(turn.step > clan.preheat, weighted, plain)


def _damping(turn):
  return 1 - turn.step / optim.horizon(turn.config)
