"""DAFormer's training: DACS near the encoder that ImageNet gave.

Hoyer, Dai and Van Gool, "DAFormer: Improving Network Architectures and Training
Strategies for Domain-Adaptive Semantic Segmentation", CVPR 2022. Its three
strategies are rare class sampling (`config.source.sampling`), the thing-class
feature distance, and a learning rate that warms up.
"""

from jaxuda.methods import Method
from jaxuda.methods import _self_training as self_training


def inputs(ctx) -> dict:
  """Return the source with ImageNet's features, and what is mixed of both."""
  taught = self_training.pseudo_labels(ctx)
  return {
    'source': self_training.source_with_distance(ctx),
    'mixed': self_training.mixed(ctx, taught),
  }


METHOD = Method(
  streams=('source', 'target'),
  inputs=inputs,
  input_losses={'source': self_training.feature_distance},
  ema=self_training.ema,
  compares_with_start=self_training.has_distance,
  settings=self_training.SETTINGS | self_training.DISTANCE,
  check=self_training.check,
)
