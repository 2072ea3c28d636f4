"""The one training step that all methods share."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxuda import forward, gradients
from jaxuda.methods import Method, StepContext
from jaxuda.state import Nets, NetworkState, TrainState, Txs

Array = jax.Array


class _Found(NamedTuple):
  """What a pass over a batch, or over a part of it, finds."""

  segmenter_grads: dict
  discriminator_grads: dict
  terms: dict[str, Array]


class _Statistics(NamedTuple):
  """The running batch-norm statistics, which each forward pass moves."""

  segmenter: dict
  teacher: dict


def train_step(
  state: TrainState,
  batch: dict[str, dict[str, Array]],
  constants: dict,
  *,
  nets: Nets,
  txs: Txs,
  method: Method,
  config,
) -> tuple[TrainState, dict[str, Array]]:
  """Train the segmenter and all discriminators by one step; pure.

  Both differentiate the same forward passes at the parameters from before the
  step, as the originals do: the segmenter its cross entropies and the method's
  terms with the discriminators held constant, the discriminators theirs on the
  segmenter's outputs held constant. The teacher follows the segmenter. A step
  with a gradient that is not finite changes nothing but the counters.

  Args:
    state: donate it.
    batch: {'source': {'image': u8[B, Hs, Ws, 3], 'label': u8[B, Hs, Ws]},
      'target': {'image': u8[B, Ht, Wt, 3]}}; the method's streams. Also the
      target has a 'label' where it has pseudo labels, and 'soft' where they are
      soft.
    constants: of experiment.constants, which no step changes.
    nets, txs, method: modules, optimizers and the method.
    config: reads `grad_accum_steps`, `loss_weights`, `ce_reduction`,
      `focal_gamma`, `bn_stats_from`, `max_nonfinite_steps`, `model`,
      `train_bn_affine` and the method's settings.

  Returns:
    The new state, and f32[] measurements: each term unweighted
    (`loss/<term>`), what else the method measures, both gradient norms, and the
    counts of skipped steps.
  """
  images = max(len(batch[stream]['image']) for stream in method.streams)
  keys = _keys(constants['rng'], state.step, images)
  one_pass = functools.partial(
    _differentiate,
    state,
    constants,
    valid=forward.valid_pixels(batch, config),
    nets=nets,
    method=method,
    config=config,
  )
  teacher_stats = state.ema.batch_stats if state.ema else {}
  stats = _Statistics(state.segmenter.batch_stats, teacher_stats)
  if config.grad_accum_steps == 1:
    found, stats = one_pass(stats, (batch, keys))
  else:
    found, stats = _accumulate(
      one_pass, stats, (batch, keys), config.grad_accum_steps
    )

  norms = {
    'grad_norm/segmenter': optax.tree.norm(found.segmenter_grads),
    'grad_norm/discriminators': jnp.asarray(
      optax.tree.norm(found.discriminator_grads)
    ),
  }
  new = _update(state, found, stats, txs, method, config)
  finite = jnp.isfinite(sum(norms.values()))
  new = _keep_finite(state, new, finite, config.max_nonfinite_steps)
  measured = {
    name if gradients.is_measurement(name) else f'loss/{name}': value
    for name, value in found.terms.items()
  }
  counts = {'skipped': new.skipped, 'skipped_in_row': new.skipped_in_row}
  return new, measured | norms | counts


def _keys(seed, step, images):
  """Return the keys of a step's images, from the data of the run's key."""
  rng = jax.random.fold_in(jax.random.wrap_key_data(seed), step)
  return jax.vmap(jax.random.fold_in, (None, 0))(rng, jnp.arange(images))


def _differentiate(
  state, constants, stats, batch_and_keys, *, valid, nets, method, config
) -> tuple[_Found, _Statistics]:
  """Return gradients and terms of a batch, or of a part; and new statistics."""
  batch, keys = batch_and_keys
  teacher = state.ema and forward.Teacher(
    nets.segmenter, state.ema.params, stats.teacher
  )
  ctx = StepContext(
    # In the method's order, which is that of the forward passes.
    batch={stream: batch[stream] for stream in method.streams},
    config=config,
    step=state.step,
    keys=keys,
    predict=teacher,
    encode=forward.frozen_encoder(nets.segmenter, constants.get('encoder')),
    priors=constants.get('priors', {}),
  )
  inputs = {
    name: jax.lax.stop_gradient(example)
    for name, example in method.inputs(ctx).items()
  }
  ctx = dataclasses.replace(ctx, inputs=inputs, predict=None, encode=None)

  seen = gradients.segmenter(
    state, ctx, stats.segmenter, valid=valid, nets=nets, method=method
  )
  ctx = dataclasses.replace(
    ctx,
    outputs=jax.lax.stop_gradient(seen.outputs),
    params=state.segmenter.params,
  )
  discriminator_grads, discriminator_terms = gradients.discriminators(
    state.discriminators.params, ctx, nets=nets, method=method
  )
  found = _Found(
    seen.grads, discriminator_grads, seen.terms | discriminator_terms
  )
  teacher_stats = teacher.batch_stats if teacher else {}
  return found, _Statistics(seen.batch_stats, teacher_stats)


def _accumulate(one_pass, stats, batch_and_keys, parts):
  """Go through the batch part after part, so that only one is in memory.

  A part takes every so many-th image, an equal share of each device's.
  """

  def split(x):
    return jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1)

  def add(carry, part):
    total, stats = carry
    found, stats = one_pass(stats, part)
    return (jax.tree.map(jnp.add, total, found), stats), None

  split_batch = jax.tree.map(split, batch_and_keys)
  first = jax.tree.map(lambda x: x[0], split_batch)
  shapes, _ = jax.eval_shape(one_pass, stats, first)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  (total, stats), _ = jax.lax.scan(add, (zeros, stats), split_batch)
  return jax.tree.map(lambda x: x / parts, total), stats


def _update(state, found, stats, txs, method, config) -> TrainState:
  """Take both optimizers' steps, then the teacher's."""
  trained = _apply(
    state.segmenter, found.segmenter_grads, txs.segmenter, stats.segmenter
  )
  teacher = state.ema
  if teacher:
    keep = method.ema(config, state.step)
    params = jax.tree.map(
      lambda old, new: keep * old + (1 - keep) * new,
      teacher.params,
      trained.params,
    )
    teacher = teacher.replace(params=params, batch_stats=stats.teacher)
  return TrainState(
    step=state.step,
    segmenter=trained,
    discriminators=_apply(
      state.discriminators, found.discriminator_grads, txs.discriminators, {}
    ),
    skipped=state.skipped,
    skipped_in_row=jnp.zeros_like(state.skipped_in_row),
    ema=teacher,
  )


def _apply(network: NetworkState, grads, tx, batch_stats) -> NetworkState:
  updates, opt_state = tx.update(grads, network.opt_state, network.params)
  return NetworkState(
    optax.apply_updates(network.params, updates), batch_stats, opt_state
  )


def _keep_finite(state, new, finite, limit):
  """Return the new state, or the old one where it is not finite; count on.

  Past the limit nothing moves, whatever comes: the loop looks at the counters
  only when it logs, scores or saves.
  """
  ended = state.skipped_in_row >= limit
  one = jnp.where(ended, 0, 1)
  bad = state.replace(
    skipped=state.skipped + one, skipped_in_row=state.skipped_in_row + one
  )
  # Not a `where` of each array: each would be compiled with the condition.
  kept = jax.lax.cond(finite & ~ended, lambda: new, lambda: bad)
  return kept.replace(step=state.step + 1)
