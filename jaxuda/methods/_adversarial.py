"""Adversarial alignment: discriminators tell domains apart, segmenters hide it.

There is one discriminator a head. A method says what it is shown: the
discriminator's inputs of one domain, {head: array}, made of the head's logits.
"""

from collections.abc import Mapping

import jax

from jaxuda.losses import SOURCE, TARGET, domain_loss

Array = jax.Array

# Whose alignment the segmenter's loss asks for, and which domain it is to pass
# for.
DIRECTIONS = {
  'target_to_source': ('target', SOURCE),
  'source_to_target': ('source', TARGET),
}


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
  """Return the discriminators' terms d_<head>; each domain counts one half.

  Args:
    ctx: the step's.
    source, target: a head's name to the discriminator's input of that domain.
    gan: of losses.domain_loss.
  """
  losses = {}
  for head in target:
    of_source = domain_loss(ctx.discriminate(head, source[head]), SOURCE, gan)
    of_target = domain_loss(ctx.discriminate(head, target[head]), TARGET, gan)
    losses[f'd_{head}'] = of_source / 2 + of_target / 2
  return losses
