"""DACS: half of the source's classes are pasted into the target.

Tranheden, Olsson, Pinto and Svensson, "DACS: Domain Adaptation via Cross-domain
Mixed Sampling", WACV 2021. A teacher, the moving average of the segmenter,
labels the target; the segmenter trains on the source, and on mixtures of both.
"""

from jaxuda.methods import Example, Method
from jaxuda.methods import _self_training as self_training


def inputs(ctx) -> dict:
  """Return the source, and what is mixed of both domains."""
  source = ctx.batch['source']
  taught = self_training.pseudo_labels(ctx)
  return {
    'source': Example(source['image'], source['label']),
    'mixed': self_training.mixed(ctx, taught),
  }


METHOD = Method(
  streams=('source', 'target'),
  inputs=inputs,
  ema=self_training.ema,
  settings=self_training.SETTINGS,
  check=self_training.check,
)
