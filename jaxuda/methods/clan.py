"""CLAN: adversarial alignment, weighted by how much two heads disagree.

Luo et al., "Taking a Closer Look at Domain Shift: Category-level Adversaries
for Semantics Consistent Domain Adaptation", CVPR 2019; CLAN_train.py. Both
heads read the same features; the prediction is the softmax of their sum
(`model.decoder.shared_features`).
"""

import jax
import jax.numpy as jnp
import optax

from jaxuda import methods, optim
from jaxuda.losses import SOURCE, TARGET, domain_accuracy, domain_loss
from jaxuda.methods import Method, _adversarial
from jaxuda.models import layers, segmenter
from jaxuda.models.discriminators import for_class_maps
from jaxuda.utils.settings import Setting


def check(config) -> None:
  """Refuse a network that has not two heads on the same features.

  Raises:
    UserError: names the keys.
  """
  methods.require_twin_heads(config)


def discriminators(config) -> dict:
  """Return one, for the sum of both heads."""
  return {'main': for_class_maps(config)}


def segmenter_losses(ctx) -> dict:
  """Return adv_main, weighted by disagreement, and heads, their likeness."""
  damping = 1 - ctx.step / optim.decay_steps(ctx.config)
  logits = _domain_logits(ctx, 'target')
  weight = disagreement(ctx.outputs['target'].logits)
  heads = segmenter.head_params(ctx.params, ctx.config)
  return {
    'adv_main': damping * _local_loss(ctx, logits, SOURCE, weight),
    'heads': damping * weight_similarity(heads['main'], heads['aux']),
  }


def discriminator_losses(ctx) -> dict:
  """Return d_main; the two domains' losses are not halved."""
  weight = disagreement(ctx.outputs['target'].logits)
  of_source, of_target = (_domain_logits(ctx, s) for s in ('source', 'target'))
  source = _adversarial.Half(
    domain_loss(of_source, SOURCE), domain_accuracy(of_source, SOURCE)
  )
  target = _adversarial.Half(
    _local_loss(ctx, of_target, TARGET, weight),
    domain_accuracy(of_target, TARGET),
  )
  term = {'d_main': source.loss + target.loss}
  return term | _adversarial.game('main', source, target)


def disagreement(logits):
  """Return 1 - cos(p1, p2) of the heads' softmax, f32[B, H, W].

  The segmenter's gradient flows into it, as in the code.

  Args:
    logits: {head: f32[B, H, W, C]} of two heads.
  """
  main, aux = (jax.nn.softmax(logits[head]) for head in ('main', 'aux'))
  return 1 - optax.cosine_similarity(main, aux, epsilon=1e-8)


def weighted_loss(logits, domain, weight, epsilon: float, local: float):
  """Return the mean of (epsilon + local weight) times binary cross entropy.

  (CLAN, utils/loss.py, WeightedBCEWithLogitsLoss.)

  Args:
    logits, weight: f32[B, H, W].
    domain: SOURCE or TARGET.
    epsilon, local: the published 0.4, and 40 for GTA5, 10 for SYNTHIA.
  """
  loss = optax.sigmoid_binary_cross_entropy(logits, domain)
  return ((epsilon + local * weight) * loss).mean()


def weight_similarity(first, second):
  """Return cos(W1, W2) + 1 of two heads' parameters, biases among them."""
  first, second = (
    jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(head)])
    for head in (first, second)
  )
  return optax.cosine_similarity(first, second, epsilon=1e-8) + 1


def _domain_logits(ctx, stream):
  """f32[B, H, W]: the discriminator's logits at the image's size."""
  logits = ctx.outputs[stream].logits
  found = ctx.discriminate(
    'main', jax.nn.softmax(logits['main'] + logits['aux'])
  )
  size = logits['main'].shape[1:3]
  align = ctx.config.model.align_corners
  return layers.resize(found[..., None], size, align)[..., 0]


def _local_loss(ctx, logits, domain, weight):
  """Plain for the first steps, weighted afterwards."""
  clan = ctx.config.clan
  weighted = weighted_loss(logits, domain, weight, clan.epsilon, clan.local)
  plain = domain_loss(logits, domain)
  return jnp.where(ctx.step > clan.preheat, weighted, plain)


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  discriminators=discriminators,
  discriminator_losses=discriminator_losses,
  settings={
    'clan.epsilon': Setting(0.4, 'weight of the plain loss', least=0.0),
    'clan.local': Setting(40.0, 'weight of disagreement', least=0.0),
    'clan.preheat': Setting(5_000, 'steps with the plain loss', least=0),
  },
  check=check,
)
