"""Losses: arrays in, a scalar out, natural logarithms unless said."""

import jax
import jax.numpy as jnp
import optax

from jaxuda.labels import IGNORE

Array = jax.Array

# AdaptSegNet's and ADVENT's convention for what a discriminator predicts.
SOURCE, TARGET = 0.0, 1.0


def cross_entropy(
  logits: Array,
  label: Array,
  reduction: str = 'batch',
  valid: Array | None = None,
  soft: Array | None = None,
  focal_gamma: float = 0.0,
  weight: Array | None = None,
) -> Array:
  """Return the mean cross entropy over valid pixels, or over all.

  (ADVENT, advent/utils/loss.py; ACCV 2020, Eq. 1.) The originals give NaN where
  no pixel is valid; here that adds 0.

  Args:
    logits: f32[B, H, W, C].
    label: u8[B, H, W], 255 where ignored.
    reduction: 'batch' or 'all', over the valid pixels of all images together,
      or 'image', over those of each image and then over the images: what FADA's
      four processes of one image each compute (train_adv.py under DDP); or
      'pixels', over all pixels, of which ignored ones add 0 (DAFormer).
    valid: f32[], but for 'image': how many valid pixels to divide by, where
      these images are a part of a batch; None for their own.
    soft: u8[B, H, W, C], a distribution over the classes in the label's place,
      up to a factor; the label still tells what is ignored.
    focal_gamma: each pixel counts (1 - p)^gamma, p being what its label was
      given: 2 is CLAN's focal loss (CLAN, utils/loss.py).
    weight: f32[B, H, W], of each pixel in a mean over all pixels, whatever the
      reduction (DACS); None for no weights.
  """
  mask = label != IGNORE
  safe = jnp.where(mask, label, 0).astype(jnp.int32)
  if soft is None:
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, safe)
  else:
    target = soft / jnp.maximum(soft.sum(-1, dtype=jnp.int32), 1)[..., None]
    loss = optax.softmax_cross_entropy(logits, target)
  if focal_gamma:
    missed = 1 - jnp.exp(-loss)
    if focal_gamma < 1:  # the power's slope at 0, a certain pixel, is infinite
      missed = jnp.maximum(missed, jnp.finfo(missed.dtype).eps)
    loss = loss * missed**focal_gamma
  loss = jnp.where(mask, loss, 0.0)
  if weight is not None or reduction == 'pixels':
    return (loss if weight is None else weight * loss).mean()
  axes = (1, 2) if reduction == 'image' else None
  if valid is None or reduction == 'image':
    valid = mask.sum(axes)
  return (loss.sum(axes) / jnp.maximum(valid, 1)).mean()


def domain_loss(logits: Array, domain: float, gan: str = 'vanilla') -> Array:
  """Return how far a discriminator's logits are from one domain, in the mean.

  Args:
    logits: f32[...], logits of 'target'.
    domain: SOURCE or TARGET.
    gan: 'vanilla', binary cross entropy (ADVENT, advent/utils/func.py,
      bce_loss), or 'lsgan', the squared distance of the logit itself
      (AdaptSegNet, train_gta2cityscapes_multi.py, --gan LS).
  """
  return DOMAIN_LOSSES[gan](logits, domain).mean()


def domain_accuracy(
  logits: Array,
  domain: float,
  gan: str = 'vanilla',
  kept: Array | None = None,
) -> Array:
  """Return the share of a discriminator's logits that tell the domain right.

  Args:
    logits, domain, gan: of `domain_loss`; a logit that is as far from both
      domains is wrong.
    kept: bool[...], what the mean is over; None for everything.
  """
  middle = (SOURCE + TARGET) / 2 if gan == 'lsgan' else 0.0
  right = logits > middle if domain == TARGET else logits < middle
  return _mean(right.astype(jnp.float32), kept)


def binary_cross_entropy(
  logits: Array, domain: float | Array, kept: Array | None = None
) -> Array:
  """Return the mean binary cross entropy of logits and a domain.

  Args:
    logits: f32[...], logits of 'target'.
    domain: SOURCE, TARGET or f32[...] between them.
    kept: bool[...], what the mean is over; None for everything. Nothing kept
      gives 0.
  """
  domain = jnp.broadcast_to(domain, logits.shape)
  return _mean(optax.sigmoid_binary_cross_entropy(logits, domain), kept)


def _squared(logits, domain):
  return jnp.square(logits - domain)


DOMAIN_LOSSES = {
  'vanilla': optax.sigmoid_binary_cross_entropy,
  'lsgan': _squared,
}


def entropy(logits: Array, share: float = 1.0) -> Array:
  """Return the mean entropy of the softmax, 1 where it is uniform.

  -sum p log2(p + 1e-30) / (N H W log2 C) (ADVENT, advent/utils/loss.py,
  entropy_loss).

  Args:
    logits: f32[B, H, W, C].
    share: of each image's pixels, those of the highest entropy, over which the
      mean is taken (the entropy range of ADVENT's MinEnt+ER).
  """
  log_p = jax.nn.log_softmax(logits)
  total = -(jnp.exp(log_p) * log_p).sum(-1)
  if share < 1:
    total = total.reshape(len(total), -1)
    total, _ = jax.lax.top_k(total, max(round(share * total.shape[1]), 1))
  return total.mean() / jnp.log(logits.shape[-1])


def class_prior(logits: Array, expected: Array) -> Array:
  """Return the penalty for classes predicted less often than expected.

  sum_c max(0, mu p_s(c) - mean_pixels p(c)), in the mean over the images
  (ADVENT, its class-ratio prior).

  Args:
    logits: f32[B, H, W, C].
    expected: f32[C], the least share of each class, mu p_s.
  """
  found = jax.nn.softmax(logits).mean((1, 2))
  return jnp.maximum(expected - found, 0.0).sum(-1).mean()


def layout(logits: Array, expected: Array) -> Array:
  """Return how far each image's distribution of classes is from one.

  Its cross entropy with the shares of a histogram of likeliest classes that can
  be differentiated: (p / max_c p)^5 in the mean over the pixels, normalised
  over the classes; in the mean over the images (curriculum adaptation,
  AdaptationSeg).

  Args:
    logits: f32[B, H, W, C].
    expected: f32[C], a distribution.
  """
  log_p = jax.nn.log_softmax(logits)
  sharp = jnp.exp(5 * (log_p - log_p.max(-1, keepdims=True))).mean((1, 2))
  found = sharp / sharp.sum(-1, keepdims=True)
  return -(expected * jnp.log(found + 1e-12)).sum(-1).mean()


def class_sizes(
  logits: Array, tenth: Array, mean: Array, ninetieth: Array
) -> Array:
  """Return the penalty for classes that are smaller or larger than usual.

  sum_c max(0, mean_c - s_c)^2 + max(0, s_c - ninetieth_c)^2, in the mean over
  the images, s_c being the mean softmax; over the classes that an image seems
  to have, s_c > tenth_c / 10. Large ones, tenth_c > 0.1, count a tenth (a
  penalty in the place of FCNs in the Wild's projection: our reading).

  Args:
    logits: f32[B, H, W, C].
    tenth, mean, ninetieth: f32[C], of a class's share of the images that have
      it: its percentiles, and its mean.
  """
  share = jax.nn.softmax(logits).mean((1, 2))
  short = jnp.square(jnp.maximum(mean - share, 0))
  over = jnp.square(jnp.maximum(share - ninetieth, 0))
  weight = jnp.where(tenth > 0.1, 0.1, 1.0) * (share > 0.1 * tenth)
  return (jax.lax.stop_gradient(weight) * (short + over)).sum(-1).mean()


def feature_distance(
  now: Array, before: Array, cells: Array | None = None
) -> Array:
  """Return the mean over cells of the length of a difference of features.

  Args:
    now, before: f[B, h, w, c].
    cells: bool[B, h, w], over which the mean is taken; None for all. Of none it
      is 0.
  """
  apart = now.astype(jnp.float32) - before.astype(jnp.float32)
  # The root's slope at 0 is infinite, and equal features do occur.
  return _mean(jnp.sqrt(jnp.square(apart).sum(-1) + 1e-12), cells)


def smoothness(logits: Array, label: Array) -> Array:
  """Return the mean of -(1 / C) sum_c log p_c over pixels that have a label.

  The divergence of the prediction from the uniform distribution, but for a
  constant (CRST, crst_seg.py, reg_loss_calc: MRKLD).

  Args:
    logits: f32[B, H, W, C].
    label: u8[B, H, W], 255 where ignored.
  """
  return _mean(-jax.nn.log_softmax(logits).mean(-1), label != IGNORE)


def squared_length(logits: Array, label: Array) -> Array:
  """Return the mean of sum_c p_c^2 over pixels that have a label (MRL2).

  Args:
    logits, label: of `smoothness`.
  """
  return _mean(jnp.square(jax.nn.softmax(logits)).sum(-1), label != IGNORE)


def negative_entropy(logits: Array, label: Array) -> Array:
  """Return the mean of sum_c p_c log p_c over pixels that have a label (MRENT).

  Args:
    logits, label: of `smoothness`.
  """
  log_p = jax.nn.log_softmax(logits)
  return _mean((jnp.exp(log_p) * log_p).sum(-1), label != IGNORE)


def class_domain_loss(
  logits: Array, knowledge: Array, domain: float, kept: Array | None = None
) -> Array:
  """Return the mean cross entropy of a fine-grained discriminator.

  -sum_k s_k log softmax_2K(logits)_k, where s is [a; 0] for the source and
  [0; a] for the target (FADA, Eqs. 5 and 6; train_adv.py,
  soft_label_cross_entropy).

  Args:
    logits: f32[..., 2 K], the source's classes first.
    knowledge: f32[..., K], a; need not sum to 1.
    domain: SOURCE or TARGET.
    kept: bool[...], what the mean is over; None for everything. Nothing kept
      gives 0.
  """
  halves = jnp.split(jax.nn.log_softmax(logits), 2, axis=-1)
  loss = -(knowledge * halves[domain == TARGET]).sum(-1)
  return _mean(loss, kept)


def class_domain_accuracy(
  logits: Array, domain: float, kept: Array | None = None
) -> Array:
  """Return the share that a fine-grained discriminator gives the right domain.

  That is more than one half of the probability, over all classes.

  Args:
    logits, domain, kept: of `class_domain_loss`.
  """
  source, target = jnp.split(jax.nn.softmax(logits), 2, axis=-1)
  own, other = (target, source) if domain == TARGET else (source, target)
  return _mean((own.sum(-1) > other.sum(-1)).astype(jnp.float32), kept)


def _mean(values, kept):
  """Return the mean of what is kept, None for everything; of nothing 0."""
  if kept is None:
    return values.mean()
  return jnp.where(kept, values, 0.0).sum() / jnp.maximum(kept.sum(), 1)
