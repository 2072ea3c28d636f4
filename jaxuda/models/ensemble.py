"""Networks that predict together."""

import dataclasses

from jaxuda.models.segmenter import Segmenter


@dataclasses.dataclass(frozen=True)
class Ensemble:
  """Separately trained segmenters; see evaluation/inference.py, upsampled.

  It stands where one network is expected, with a tuple of params and one of
  batch_stats, an entry a member.

  Attributes:
    members: the networks, of any kind but of the same classes.
    mix: the weight of each; together 1.
  """

  members: tuple[Segmenter, ...]
  mix: tuple[float, ...]

  @property
  def num_classes(self) -> int:
    """Channels of the logits."""
    return self.members[0].num_classes
