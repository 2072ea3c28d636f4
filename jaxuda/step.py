"""The one training step that all methods share, and prediction."""

import functools
from types import ModuleType

import jax
import jax.numpy as jnp
import optax

from jaxuda import losses, methods, optim
from jaxuda.models import deeplab
from jaxuda.state import Nets, Player, TrainState, Txs
from jaxuda.utils.errors import UserError

Array = jax.Array


def train_step(
  state: TrainState,
  batch: dict[str, dict[str, Array]],
  *,
  nets: Nets,
  txs: Txs,
  method: ModuleType,
  config,
) -> tuple[TrainState, dict[str, Array]]:
  """Trains the segmenter and all discriminators by one step.

  Both players differentiate the same forward passes at the parameters from
  before the step, as the originals do: the segmenter its cross entropy and its
  half of the game with the discriminators held constant, the discriminators
  their half on the segmenter's outputs held constant. A step with a gradient
  that is not finite changes nothing but the counters.

  Args:
    state: donate it.
    batch: {'source': {'image': u8[B, Hs, Ws, 3], 'label': u8[B, Hs, Ws]},
      'target': {'image': u8[B, Ht, Wt, 3]}}; the method's STREAMS. Also the
      target has a 'label' where it has pseudo labels, and 'soft' besides where
      they are soft.
    nets, txs, method: modules, optimizers and a module of jaxuda.methods.
    config: reads `seed`, `iter_size`, `weights`, `seg_mean`, `statistics`,
      `max_skipped` and the method's settings.

  Returns:
    The new state, and f32[] measurements: each term unweighted
    (`loss_<term>`), both gradient norms, and the counts of skipped steps.
  """
  parts = config.iter_size
  rng = jax.random.fold_in(jax.random.key(config.seed), state.step)
  images = max(len(batch[stream]['image']) for stream in method.STREAMS)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(rng, jnp.arange(images))
  valid = _valid_pixels(batch, parts, config.seg_mean)
  play = functools.partial(
    _play, state, valid=valid, nets=nets, method=method, config=config
  )
  batch_stats = state.segmenter.batch_stats
  if parts == 1:
    found, batch_stats = play(batch_stats, (batch, keys))
  else:
    found, batch_stats = _mean_over_parts(
      play, batch_stats, (batch, keys), parts
    )
  seg_grads, d_grads, terms = found

  norms = {
    'grad_norm_segmenter': optax.tree.norm(seg_grads),
    'grad_norm_discriminators': jnp.asarray(optax.tree.norm(d_grads)),
  }
  new = TrainState(
    step=state.step,
    segmenter=_update(state.segmenter, seg_grads, txs.segmenter, batch_stats),
    discriminators=_update(
      state.discriminators, d_grads, txs.discriminators, {}
    ),
    skipped=state.skipped,
    skipped_in_row=jnp.zeros_like(state.skipped_in_row),
  )
  finite = jnp.isfinite(sum(norms.values()))
  new = _keep_finite(state, new, finite, config.max_skipped)
  measured = {f'loss_{k}': v for k, v in terms.items()} | norms
  return new, measured | {
    'skipped': new.skipped,
    'skipped_in_row': new.skipped_in_row,
  }


def _play(state, batch_stats, batch_and_keys, *, valid, nets, method, config):
  """Both players' gradients and all terms; and the new batch statistics."""
  batch, keys = batch_and_keys

  def turn(outputs, params, d_params):
    def discriminate(name, view):
      return nets.discriminators[name].apply({'params': d_params[name]}, view)

    return methods.Turn(
      outputs, batch, discriminate, keys, params, state.step, config
    )

  groups = optim.group_labels(state.segmenter.params, config.model)

  def segmenter_loss(params):
    # No gradient of what is never updated: it costs reductions.
    params = jax.tree.map(
      lambda p, group: jax.lax.stop_gradient(p) if group == 'frozen' else p,
      params,
      groups,
    )
    outputs, new_stats = _forward(
      nets.segmenter,
      params,
      batch_stats,
      {stream: batch[stream]['image'] for stream in method.STREAMS},
      config.statistics,
    )
    terms = _cross_entropies(outputs, batch, valid, config)
    terms |= method.segmenter_terms(
      turn(outputs, params, state.discriminators.params)
    )
    return _weigh(terms, config), (terms, outputs, new_stats)

  def discriminator_loss(d_params, outputs):
    terms = method.discriminator_terms(
      turn(outputs, state.segmenter.params, d_params)
    )
    return _weigh(terms, config), terms

  seg_grads, (terms, outputs, new_stats) = jax.grad(
    segmenter_loss, has_aux=True
  )(state.segmenter.params)
  d_grads, d_terms = jax.grad(discriminator_loss, has_aux=True)(
    state.discriminators.params, jax.lax.stop_gradient(outputs)
  )
  return (seg_grads, d_grads, terms | d_terms), new_stats


def _valid_pixels(batch, parts, mean):
  """How many pixels each labelled stream's cross entropy is divided by."""
  valid = {
    stream: jnp.sum(given['label'] != losses.IGNORE) / parts
    for stream, given in batch.items()
    if 'label' in given
  }
  if mean == 'all':
    return dict.fromkeys(valid, sum(valid.values()))
  return valid


def _cross_entropies(outputs, batch, valid, config):
  """seg_<head> of the source, seg_<stream>_<head> of other labelled streams."""
  terms = {}
  for stream, count in valid.items():
    name = 'seg' if stream == 'source' else f'seg_{stream}'
    label, soft = batch[stream]['label'], batch[stream].get('soft')
    for level, logits in outputs[stream].logits.items():
      terms[f'{name}_{level}'] = losses.cross_entropy(
        logits, label, config.seg_mean, count, soft, config.seg_focus
      )
  return terms


def _mean_over_parts(play, batch_stats, batch_and_keys, parts):
  """Plays part after part of the batch, so that only one is in memory.

  A part takes every so many-th image, an equal share of each device's.
  """

  def split(x):
    return jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1)

  def add(carry, part):
    total, stats = carry
    found, stats = play(stats, part)
    return (jax.tree.map(jnp.add, total, found), stats), None

  split_batch = jax.tree.map(split, batch_and_keys)
  first = jax.tree.map(lambda x: x[0], split_batch)
  shapes, _ = jax.eval_shape(play, batch_stats, first)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  (total, stats), _ = jax.lax.scan(add, (zeros, batch_stats), split_batch)
  return jax.tree.map(lambda x: x / parts, total), stats


def _keep_finite(state, new, finite, max_skipped):
  """The new state, or where it is not finite the old one; one step later.

  Past the limit nothing moves, whatever comes: the loop looks only at times.
  """
  ended = state.skipped_in_row >= max_skipped
  one = jnp.where(ended, 0, 1)
  bad = state.replace(
    skipped=state.skipped + one, skipped_in_row=state.skipped_in_row + one
  )
  keep = finite & ~ended
  kept = jax.tree.map(lambda a, b: jnp.where(keep, a, b), new, bad)
  return kept.replace(step=state.step + 1)


def _forward(net, params, batch_stats, images, statistics):
  """Each stream in turn; the running statistics follow them in that order.

  With `statistics` 'target' they follow the target alone, where it is read.
  """
  outputs, new_stats = {}, batch_stats
  for stream, image in images.items():
    if statistics == 'target' and stream == 'target':
      new_stats = batch_stats
    outputs[stream], new_stats = deeplab.forward(net, params, new_stats, image)
  return outputs, new_stats


def _weigh(terms, config) -> Array:
  for name in terms:
    if name not in config.weights:
      raise UserError(
        f'config.weights.{name} is missing: with these settings the method '
        f'has this term, and its page has to say `weights.{name}`.'
      )
  return sum((config.weights[k] * v for k, v in terms.items()), jnp.zeros(()))


def _update(player: Player, grads, tx, batch_stats) -> Player:
  updates, opt_state = tx.update(grads, player.opt_state, player.params)
  return Player(
    optax.apply_updates(player.params, updates), batch_stats, opt_state
  )
