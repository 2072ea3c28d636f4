"""MinEnt: the target's predictions become certain.

Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in
Semantic Segmentation", CVPR 2019, section 3.1; train_UDA.py, train_minent. Two
additions are in the paper and not in the code: training on the pixels of the
highest entropy alone (MinEnt+ER), and the class-ratio prior. Two more priors
are other papers': the layout of curriculum adaptation (Zhang et al., ICCV 2017;
its image-wise estimates are not here, but the source's mean), and the class
sizes of FCNs in the Wild (Hoffman et al., 2016; no code, our reading).
"""

import jax.numpy as jnp
import numpy as np

from jaxuda import labels
from jaxuda.losses import class_prior, class_sizes, entropy, layout
from jaxuda.methods import Method
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import Setting


def check(config) -> None:
  """Refuse an invalid class prior.

  Raises:
    UserError: names the key.
  """
  shares, classes = config.prior.shares, labels.space(config.classes).classes
  if shares is None:
    return
  if len(shares) != len(classes) or abs(sum(shares) - 1) > 0.01:
    raise UserError(
      f'config.prior.shares has {len(shares)} numbers of sum '
      f'{sum(shares):.3g}; '
      f'it must have one for each of {len(classes)} classes, of sum 1.'
    )


def priors(config, labels) -> dict[str, np.ndarray]:
  """Return what the terms of layout and sizes take for given, f32[C] each.

  shares, each class's in the mean over the source's images; tenth, mean and
  ninetieth, of its share of the images that have it.
  """
  if not (config.prior.layout or config.prior.sizes):
    return {}
  counts = labels.class_counts
  counts = counts[counts.any(1)]  # of the images that have labels
  share = counts / counts.sum(1, keepdims=True)
  there = np.where(counts > 0, share, np.nan)
  there = np.where(counts.any(0), there, 0.0)  # what is nowhere has nothing
  tenth, ninetieth = np.nanpercentile(there, (10, 90), axis=0)
  found = {
    'shares': share.mean(0),
    'tenth': tenth,
    'mean': np.nanmean(there, 0),
    'ninetieth': ninetieth,
  }
  return {name: np.asarray(value, np.float32) for name, value in found.items()}


def segmenter_losses(ctx) -> dict:
  """Return ent_<head>, the target's mean entropy; and the priors' terms."""
  config, losses = ctx.config, {}
  for head, logits in ctx.outputs['target'].logits.items():
    losses[f'ent_{head}'] = entropy(logits, config.entropy_share)
    if config.prior.shares is not None:
      expected = config.prior.relax * jnp.array(config.prior.shares)
      losses[f'prior_{head}'] = class_prior(logits, expected)
    if config.prior.layout:
      losses[f'layout_{head}'] = layout(logits, ctx.priors['shares'])
    if config.prior.sizes:
      usual = (ctx.priors[key] for key in ('tenth', 'mean', 'ninetieth'))
      losses[f'sizes_{head}'] = class_sizes(logits, *usual)
  return losses


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  settings={
    'entropy_share': Setting(
      1.0,
      "of each image's pixels those of the highest entropy train: 0.3, say; "
      'the code has all',
      least=1e-3,
      most=1.0,
    ),
    'prior.shares': Setting(
      None,
      "each class's share of the source's pixels, which predictions reach but "
      'for the factor `relax`; None for no such term',
      optional=tuple,
      item=float,
    ),
    'prior.relax': Setting(0.5, 'the factor', least=0.0),
    'prior.layout': Setting(
      False, "whether an image's classes are as frequent as the source's (CDA)"
    ),
    'prior.sizes': Setting(
      False,
      "whether a class's share of an image is as the source's (FCNs in the "
      'Wild)',
    ),
  },
  priors=priors,
  check=check,
)
