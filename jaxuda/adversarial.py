"""The game that most methods play: fool a discriminator, tell domains apart.

A method says what the discriminator sees, `see(stream, head)`, an array that
is a function of one head's logits; there is one discriminator a head.
"""

from jaxuda.losses import SOURCE, TARGET, domain_loss


def fool(outputs, discriminate, see, gan: str = 'vanilla') -> dict:
  """The segmenter's terms adv_<head>: the target shall look like the source.

  (AdaptSegNet, train_gta2cityscapes_multi.py; ADVENT, train_UDA.py.)
  """
  return {
    f'adv_{head}': domain_loss(
      discriminate(head, see('target', head)), SOURCE, gan
    )
    for head in outputs['target'].logits
  }


def tell_apart(outputs, discriminate, see, gan: str = 'vanilla') -> dict:
  """The discriminators' terms d_<head>; each domain counts one half."""

  def half(head, stream, domain):
    answer = discriminate(head, see(stream, head))
    return domain_loss(answer, domain, gan) / 2

  return {
    f'd_{head}': half(head, 'source', SOURCE) + half(head, 'target', TARGET)
    for head in outputs['target'].logits
  }
