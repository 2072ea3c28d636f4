"""The game that most methods play: fool a discriminator, tell domains apart.

A method says what the discriminator sees, `see(stream, head)`, an array that
is a function of one head's logits; there is one discriminator a head.
"""

from jaxuda.losses import SOURCE, TARGET, domain_loss

# Which stream shall look like the other one, and what it shall pass for.
DIRECTIONS = {
  'target_to_source': ('target', SOURCE),
  'source_to_target': ('source', TARGET),
}


def fool(
  turn, see, gan: str = 'vanilla', direction: str = 'target_to_source'
) -> dict:
  """The segmenter's terms adv_<head>: one domain shall look like the other.

  The target like the source (AdaptSegNet, train_gta2cityscapes_multi.py;
  ADVENT, train_UDA.py), or the source like the target (paper 004, Eq. 2).
  """
  stream, domain = DIRECTIONS[direction]
  return {
    f'adv_{head}': domain_loss(
      turn.discriminate(head, see(stream, head)), domain, gan
    )
    for head in turn.outputs[stream].logits
  }


def tell_apart(turn, see, gan: str = 'vanilla') -> dict:
  """The discriminators' terms d_<head>; each domain counts one half."""

  def half(head, stream, domain):
    answer = turn.discriminate(head, see(stream, head))
    return domain_loss(answer, domain, gan) / 2

  return {
    f'd_{head}': half(head, 'source', SOURCE) + half(head, 'target', TARGET)
    for head in turn.outputs['target'].logits
  }
