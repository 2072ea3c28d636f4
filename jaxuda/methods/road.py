"""ROAD: the target near ImageNet's features, and regions aligned one by one.

Chen, Li and Van Gool, "ROAD: Reality Oriented Adaptation for Semantic
Segmentation of Urban Scenes", CVPR 2018. No code was published: what is left
open is our reading, as the network of the regions' classifiers, FADA's with a
pair of outputs for each region.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from jaxuda.losses import SOURCE, TARGET, feature_distance
from jaxuda.methods import Example, Method, _adversarial
from jaxuda.models import encoders, segmenter
from jaxuda.models.discriminators import PixelDiscriminator
from jaxuda.utils.settings import Setting

Array = jax.Array
STREAMS = ('source', 'target')


def inputs(ctx) -> dict:
  """Return both domains, the target with its features before training."""
  source, target = (ctx.batch[stream] for stream in STREAMS)
  before = ctx.encode(target['image'])[segmenter.deepest(ctx.config)]
  return {
    'source': Example(source['image'], source['label'], source.get('soft')),
    'target': Example(
      target['image'],
      target.get('label'),
      target.get('soft'),
      extra={'before': before},
    ),
  }


def discriminators(config) -> dict:
  """Return one, with an output for each region of the deepest map."""
  encoder = config.model.encoder
  channels = encoders.load(encoder.name).channels(encoder)
  return {
    'region': PixelDiscriminator(
      channels=channels[segmenter.deepest(config)],
      num_classes=config.regions**2,
      width=config.discriminator.width,
      dtype=jnp.dtype(config.model.dtype),
    )
  }


def segmenter_losses(ctx) -> dict:
  """Return dist, the target's distance from the start, and adv_region.

  Each region of the target passes for the source's; with `minimax` both domains
  are moved against their classifiers, the paper's gradient reversal.
  """
  now = ctx.outputs['target'].features[segmenter.deepest(ctx.config)]
  dist = feature_distance(now, ctx.inputs['target'].extra['before'])
  if ctx.config.objective == 'minimax':
    halves = (_half(ctx, 'source', SOURCE), _half(ctx, 'target', TARGET))
    adversarial = -sum(half.loss for half in halves)
  else:
    adversarial = _half(ctx, 'target', SOURCE).loss
  return {'dist': dist, 'adv_region': adversarial}


def discriminator_losses(ctx) -> dict:
  """Return d_region: which domain is each region of?"""
  return _adversarial.halves(
    'region', _half(ctx, 'source', SOURCE), _half(ctx, 'target', TARGET)
  )


def region_losses(logits: Array, domain: float) -> Array:
  """Return the mean binary cross entropy of each region: f32[R].

  Args:
    logits: f32[B, h, w, R], of 'target', R = G^2: in the region of row i and
      column j of a grid of G x G the output i G + j counts.
    domain: SOURCE or TARGET.
  """
  chosen = regions(logits.shape[1:3], logits.shape[-1])
  loss = optax.sigmoid_binary_cross_entropy(logits, domain)
  total = jnp.where(chosen, loss, 0.0).sum((0, 1, 2))
  return total / (len(logits) * jnp.maximum(chosen.sum((0, 1)), 1))


def regions(size: Sequence[int], count: int) -> Array:
  """Return in which region each cell of a map is: bool[h, w, count].

  Args:
    size: (h, w).
    count: G^2.
  """
  grid = round(count**0.5)
  row, column = (jnp.arange(n) * grid // n for n in size)
  region = row[:, None] * grid + column
  return jax.nn.one_hot(region, count, dtype=bool)


def _half(ctx, stream, domain):
  deepest = segmenter.deepest(ctx.config)
  features = ctx.outputs[stream].features[deepest]
  logits = _adversarial.of_target(ctx.discriminate('region', features))
  chosen = regions(logits.shape[1:3], logits.shape[-1])
  right = (logits > 0) == (domain == TARGET)
  accuracy = (right & chosen).sum() / (len(logits) * chosen.sum())
  return _adversarial.Half(region_losses(logits, domain).sum(), accuracy)


def _always(_) -> bool:
  return True


METHOD = Method(
  streams=STREAMS,
  inputs=inputs,
  segmenter_losses=segmenter_losses,
  discriminators=discriminators,
  discriminator_losses=discriminator_losses,
  compares_with_start=_always,
  settings={
    'regions': Setting(3, 'rows and columns of the grid of regions', least=1),
    'objective': Setting(
      'non_saturating',
      "the segmenter's half of the game; minimax is the paper's reversal",
      ('non_saturating', 'minimax'),
    ),
  },
)
