"""Adversarial alignment: discriminators tell domains apart, segmenters hide it.

There is one discriminator a head. A method says what it is shown: the
discriminator's inputs of one domain, {head: array}, made of the head's logits.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxuda.losses import SOURCE, TARGET, domain_accuracy, domain_loss

Array = jax.Array

# Whose alignment the segmenter's loss asks for, and which domain it is to pass
# for.
DIRECTIONS = {
  'target_to_source': ('target', SOURCE),
  'source_to_target': ('source', TARGET),
}


class Half(NamedTuple):
  """What a discriminator makes of one domain.

  Attributes:
    loss: f32[].
    accuracy: f32[], the share of what it is shown that it tells right.
  """

  loss: Array
  accuracy: Array


def adversarial_losses(
  ctx, seen: Mapping[str, Array], domain: float = SOURCE, gan: str = 'vanilla'
) -> dict[str, Array]:
  """Return the segmenter's terms adv_<head>: what is seen passes for a domain.

  (AdaptSegNet, train_gta2cityscapes_multi.py; ADVENT, train_UDA.py.)

  Args:
    ctx: the step's.
    seen: a head's name to the discriminator's input of the other domain.
    domain: what it is to pass for, SOURCE or TARGET.
    gan: of losses.domain_loss.
  """
  return {
    f'adv_{head}': domain_loss(ctx.discriminate(head, x), domain, gan)
    for head, x in seen.items()
  }


def discriminator_losses(
  ctx,
  source: Mapping[str, Array],
  target: Mapping[str, Array],
  gan: str = 'vanilla',
) -> dict[str, Array]:
  """Return `halves` of each head's discriminator.

  Args:
    ctx: the step's.
    source, target: a head's name to the discriminator's input of that domain.
    gan: of losses.domain_loss.
  """

  def half(head, x, domain):
    logits = ctx.discriminate(head, x)
    return Half(
      domain_loss(logits, domain, gan), domain_accuracy(logits, domain, gan)
    )

  losses: dict[str, Array] = {}
  for head in target:
    of_source = half(head, source[head], SOURCE)
    of_target = half(head, target[head], TARGET)
    losses |= halves(head, of_source, of_target)
  return losses


def of_target(answers: Array) -> Array:
  """Return the logits of 'target' of a PixelDiscriminator's answers.

  The softmax over a pair, one of each domain, is the sigmoid of its difference.

  Args:
    answers: f32[..., 2 K], the source's first.

  Returns:
    f32[..., K].
  """
  source, target = jnp.split(answers, 2, axis=-1)
  return target - source


def halves(name: str, source: Half, target: Half) -> dict[str, Array]:
  """Return a discriminator's term, to which each domain adds one half.

  Args:
    name: the discriminator's.
    source, target: what it makes of each.

  Returns:
    {'d_<name>': f32[]}, and what `game` returns.
  """
  term = {f'd_{name}': source.loss / 2 + target.loss / 2}
  return term | game(name, source, target)


def game(name: str, source: Half, target: Half) -> dict[str, Array]:
  """Return how a discriminator's game stands; nothing is trained on it.

  Returns:
    {'d_<name>/<domain>_loss', 'd_<name>/<domain>_accuracy'}, f32[] each.
  """
  return {
    f'd_{name}/{domain}_{what}': value
    for domain, half in (('source', source), ('target', target))
    for what, value in half._asdict().items()
  }
