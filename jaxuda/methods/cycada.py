"""CyCADA's last stage: pixels of scores, or features, pass for the source's.

Hoffman et al., "CyCADA: Cycle-Consistent Adversarial Domain Adaptation", ICML
2018; scripts/train_fcn_adda.py. The stages before are a dataset, the source in
the target's style, and source-only training on it.

The original takes the discriminator's step first, then, only where its accuracy
over the last 100 iterations is above 60 %, the segmenter's against the new
discriminator, and one more on the source's labels. Here both players step at
the old weights, equal to first order in the learning rate; the gate is each
batch's own accuracy, as a step keeps nothing between batches; and it closes the
adversarial term alone, so that the source is always learned.
"""

import jax
import jax.numpy as jnp
import optax

from jaxuda import methods
from jaxuda.losses import SOURCE, TARGET, domain_accuracy
from jaxuda.methods import Method, _adversarial
from jaxuda.models import segmenter
from jaxuda.models.fine_discriminators import DroppingDiscriminator
from jaxuda.utils.settings import Setting

Array = jax.Array


def check(config) -> None:
  """Refuse parts of a batch, each of which would have a gate of its own.

  Raises:
    UserError: names the key.
  """
  methods.refuse_accumulation(config, "the gate's accuracy")


def discriminators(config) -> dict:
  """Return one, of the pixels of what it sees."""
  width, dtype = config.discriminator.width, jnp.dtype(config.model.dtype)
  if config.sees == 'scores':
    channels = segmenter.num_classes(config)
  else:
    channels, width = segmenter.main_channels(config), 2 * width
  return {
    'main': DroppingDiscriminator(channels, (width, width // 2), dtype=dtype)
  }


def segmenter_losses(ctx) -> dict:
  """Return adv_main: the target passes for the source, while D tells them.

  It is 0 where D is right on less than `gate` of the pixels of both domains.
  """
  source, target = (_answers(ctx, stream) for stream in ('source', 'target'))
  is_open = accuracy(source, target) > ctx.config.gate
  loss = optax.sigmoid_binary_cross_entropy(target, SOURCE).mean()
  return {'adv_main': jnp.where(is_open, loss, 0.0)}


def discriminator_losses(ctx) -> dict:
  """Return d_main, over the pixels of both domains together, and its game."""
  halves, total, count = {}, 0.0, 0
  for stream, domain in (('source', SOURCE), ('target', TARGET)):
    answers = _answers(ctx, stream)
    loss = optax.sigmoid_binary_cross_entropy(answers, domain)
    total, count = total + loss.sum(), count + loss.size
    right = domain_accuracy(answers, domain)
    halves[stream] = _adversarial.Half(loss.mean(), right)
  return {'d_main': total / count, **_adversarial.game('main', **halves)}


def accuracy(source: Array, target: Array) -> Array:
  """Return the share of the pixels of both domains that are told right.

  Args:
    source, target: logits of 'target', of any shapes.
  """
  right = (source < 0).sum() + (target > 0).sum()
  return right / (source.size + target.size)


def _answers(ctx, stream):
  """Return the discriminator's logits of a domain's pixels, f32[B, H, W]."""
  outputs = ctx.outputs[stream]
  if ctx.config.sees == 'scores':  # without softmax, at the image's size
    seen = outputs.logits['main']
  else:
    seen = outputs.main_features
  return ctx.discriminate('main', seen, ctx.rng(f'dropout of {stream}')[0])


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  discriminators=discriminators,
  discriminator_losses=discriminator_losses,
  check=check,
  settings={
    'sees': Setting(
      'scores',
      'what the discriminator is shown: logits, or the features that the main '
      'head reads',
      ('scores', 'features'),
    ),
    'gate': Setting(
      0.6,
      "the discriminator's accuracy from which the segmenter trains against it",
      least=0.0,
      most=1.0,
    ),
  },
)
