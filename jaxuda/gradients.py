"""The gradients of a step: of all inputs together, or input by input."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxuda import forward
from jaxuda.methods import Example, Method, StepContext
from jaxuda.models import segmenter as segmenter_lib
from jaxuda.state import Nets, TrainState
from jaxuda.utils.errors import UserError

Array = jax.Array


class Found(NamedTuple):
  """What the segmenter's gradients come with.

  Attributes:
    grads: of its parameters.
    terms: f32[] of each, unweighted.
    outputs: an input's name to its Outputs; {} where they were taken in a loop,
      as no discriminator looks at them.
    batch_stats: the new running statistics.
  """

  grads: dict
  terms: dict[str, Array]
  outputs: dict
  batch_stats: dict


def segmenter(
  state: TrainState,
  ctx: StepContext,
  batch_stats: dict,
  *,
  valid: dict,
  nets: Nets,
  method: Method,
) -> Found:
  """Differentiate the segmenter's loss.

  Where each term is of one input, the gradients are taken input by input, and
  add up: many forward passes then need the memory of one. Where the inputs have
  one form, they also are one compiled loop.

  Args:
    state: from before the step.
    ctx: with the inputs.
    batch_stats: the segmenter's running ones, which each forward pass moves.
    valid: of forward.valid_pixels.
    nets, method: modules and the method.

  Raises:
    UserError: the config does not weigh one of the terms.
  """
  every = tuple(ctx.inputs)
  one_by_one = not nets.discriminators and not method.has_joint_losses
  if one_by_one and _have_one_form(ctx):
    return _in_a_loop(state, ctx, batch_stats, nets=nets, method=method)
  params, grads = state.segmenter.params, None
  terms: dict = {}
  outputs: dict = {}
  for group in [(name,) for name in every] if one_by_one else [every]:
    loss = functools.partial(
      _loss,
      ctx=ctx,
      group=group,
      discriminator_params=state.discriminators.params,
      batch_stats=batch_stats,
      valid=valid,
      nets=nets,
      method=method,
    )
    if grads is not None:
      # One after the other, or all of their activations would live at a time.
      params, grads = jax.lax.optimization_barrier((params, grads))
    more, (new_terms, new_outputs, batch_stats) = jax.grad(loss, has_aux=True)(
      params
    )
    grads = more if grads is None else jax.tree.map(jnp.add, grads, more)
    terms, outputs = terms | new_terms, outputs | new_outputs
  return Found(grads or {}, terms, outputs, batch_stats)


def _loss(
  params, *, ctx, group, discriminator_params, batch_stats, valid, nets, method
):
  """Return the loss of some inputs; its terms, outputs and new statistics."""
  params = forward.stop_frozen(params, ctx.config)
  outputs, new_stats = forward.forward_inputs(
    nets.segmenter, params, batch_stats, ctx, group
  )
  ctx = dataclasses.replace(
    ctx,
    outputs=outputs,
    params=params,
    discriminate=functools.partial(
      _discriminate, nets.discriminators, discriminator_params
    ),
  )
  ctx = dataclasses.replace(
    ctx,
    decode=functools.partial(
      forward.decode, nets.segmenter, params, batch_stats, ctx
    ),
  )
  terms = forward.cross_entropies(ctx, valid) | method.segmenter_losses(ctx)
  for name in group:
    if name in method.input_losses:
      terms |= method.input_losses[name](ctx)
  return _weighted_sum(terms, ctx.config), (terms, outputs, new_stats)


def _have_one_form(ctx) -> bool:
  """Return whether all inputs are labelled images of one size.

  Their cross entropies have to be means over all pixels, in which missing
  weights are ones.
  """
  inputs = ctx.inputs.values()
  return (
    len(inputs) > 1
    and ctx.config.ce_reduction == 'pixels'
    and all(each.label is not None and each.soft is None for each in inputs)
    and len({each.image.shape for each in inputs}) == 1
  )


def _in_a_loop(state, ctx, batch_stats, *, nets, method) -> Found:
  """Return what `segmenter` does, of inputs that have one form."""
  names, config = tuple(ctx.inputs), ctx.config
  only = config.bn_stats_from
  moves = [only in ('both', name) or only not in names for name in names]
  draws = {
    rng: jnp.stack([ctx.rng(f'{rng} of {name}')[0] for name in names])
    for rng in segmenter_lib.rng_names(config)
  }
  gradient = jax.grad(
    functools.partial(_loss_of_one, ctx=ctx, nets=nets, method=method),
    has_aux=True,
  )

  def body(carry, given):
    stats, grads = carry
    number, example, rngs, moved = given
    more, (of_labels, of_method, new) = gradient(
      state.segmenter.params, number, example, rngs, stats
    )
    stats = jax.tree.map(lambda a, b: jnp.where(moved, a, b), new, stats)
    return (stats, jax.tree.map(jnp.add, grads, more)), (of_labels, of_method)

  zeros = jax.tree.map(jnp.zeros_like, state.segmenter.params)
  (stats, grads), (of_labels, of_method) = jax.lax.scan(
    body,
    (batch_stats, zeros),
    (jnp.arange(len(names)), _stacked(ctx.inputs), draws, jnp.array(moves)),
  )
  terms = {
    f'seg_{name}_{head}': values[number]
    for number, name in enumerate(names)
    for head, values in of_labels.items()
  }
  terms |= {name: values.sum() for name, values in of_method.items()}
  return Found(grads, terms, {}, stats)


def _loss_of_one(params, number, example, rngs, stats, *, ctx, nets, method):
  """Return the loss of the input of a number.

  Returns:
    It, {head: its cross entropy}, the method's terms of all inputs, where those
    of others are 0, and the new statistics.
  """
  names, config = tuple(ctx.inputs), ctx.config
  params = forward.stop_frozen(params, config)
  outputs, new_stats = segmenter_lib.forward(
    nets.segmenter, params, stats, example.image, rngs
  )

  def named(name):
    return dataclasses.replace(
      ctx, inputs={name: example}, outputs={name: outputs}, params=params
    )

  own = [
    functools.partial(method.input_losses[name], named(name))
    if name in method.input_losses
    else dict
    for name in names
  ]
  zeros = {term: jnp.zeros(()) for each in own for term in jax.eval_shape(each)}
  of_method = jax.lax.switch(
    number, [lambda each=each: zeros | each() for each in own]
  )
  common = forward.cross_entropies(named('x'), {})
  of_labels = {
    name.removeprefix('seg_x_'): value for name, value in common.items()
  }
  weights = {
    head: jnp.array([_weight(config, f'seg_{name}_{head}') for name in names])
    for head in of_labels
  }
  total = sum(weights[head][number] * of_labels[head] for head in of_labels)
  total += _weighted_sum(of_method, config)
  return total, (of_labels, of_method, new_stats)


def _stacked(inputs) -> Example:
  """Return the inputs as one Example, whose arrays have a new first axis.

  What an input lacks is there: weights of 1, and zeros for what others have in
  `extra`.
  """
  kinds: dict[str, Any] = {}
  for example in inputs.values():
    kinds |= example.extra

  def whole(example):
    weight = example.weight
    if weight is None:
      weight = jnp.ones(example.label.shape)
    extra = {
      key: example.extra.get(key, jnp.zeros_like(other))
      for key, other in kinds.items()
    }
    image = example.image.astype(jnp.float32)
    return example._replace(image=image, weight=weight, extra=extra)

  examples = [whole(example) for example in inputs.values()]
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *examples)


def discriminators(
  params: dict, ctx: StepContext, *, nets: Nets, method: Method
) -> tuple[dict, dict[str, Array]]:
  """Differentiate the discriminators' loss; return gradients and terms.

  Args:
    params: the discriminators'.
    ctx: with the segmenter's outputs as constants.
    nets, method: modules and the method.

  Raises:
    UserError: the config does not weigh one of the terms.
  """

  def loss(params):
    discriminate = functools.partial(_discriminate, nets.discriminators, params)
    own = dataclasses.replace(ctx, discriminate=discriminate)
    terms = method.discriminator_losses(own)
    return _weighted_sum(terms, ctx.config), terms

  return jax.grad(loss, has_aux=True)(params)


def _discriminate(modules, params, name, x, key=None):
  rngs = None if key is None else {'dropout': key}
  return modules[name].apply({'params': params[name]}, x, rngs=rngs)


def _weighted_sum(terms, config) -> Array:
  weighted = (
    _weight(config, name) * value
    for name, value in terms.items()
    if not is_measurement(name)
  )
  return sum(weighted, jnp.zeros(()))


def is_measurement(name: str) -> bool:
  """Return whether what a method returns is only logged: <group>/<what>."""
  return '/' in name


def _weight(config, name) -> float:
  """Return what a term is multiplied by."""
  if name not in config.loss_weights:
    raise UserError(
      f'config.loss_weights.{name} is missing: with these settings the '
      f'method has this term, and its config has to say `loss_weights.{name}`.'
    )
  return config.loss_weights[name]
