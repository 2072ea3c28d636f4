"""The forward passes of a training step, and their cross entropies."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxuda import losses
from jaxuda.methods import StepContext
from jaxuda.models import segmenter

Array = jax.Array


class Teacher:
  """The teacher's forward passes of one step; keeps their statistics.

  It normalises by the batch's statistics, and drops nothing, as it has no
  random streams.

  Attributes:
    batch_stats: its running statistics, which each pass moves.
  """

  def __init__(self, net: segmenter.Segmenter, params: dict, batch_stats: dict):
    """Take the teacher's variables from before the step."""
    self._net, self._params, self.batch_stats = net, params, batch_stats
    self._said: list[tuple[Array, segmenter.Outputs]] = []

  def __call__(self, image: Array) -> segmenter.Outputs:
    """Return the outputs for an image, u8[B, H, W, 3].

    The same array is forwarded once, however often a method asks.
    """
    for known, outputs in self._said:
      if known is image:
        return outputs
    outputs, self.batch_stats = segmenter.forward(
      self._net, self._params, self.batch_stats, image
    )
    self._said.append((image, outputs))
    return outputs


def frozen_encoder(
  net: segmenter.Segmenter, variables: dict | None
) -> Callable[[Array], dict[str, Array]] | None:
  """Return image -> the maps of an encoder that does not train, as it predicts.

  Args:
    net: the segmenter.
    variables: of its encoder: {'params', 'batch_stats'} without a level for it;
      None for no such function.
  """
  if variables is None:
    return None
  within = {kind: {'encoder': tree} for kind, tree in variables.items()}

  def encode(image: Array) -> dict[str, Array]:
    maps: Any = net.apply(within, image, train=False, method=net.encode)
    return maps

  return encode


def stop_frozen(params: dict, config: Any) -> dict:
  """Stop the gradient of what is never updated: it costs reductions."""
  return jax.tree.map(
    lambda p, group: jax.lax.stop_gradient(p) if group == 'frozen' else p,
    params,
    segmenter.param_groups(params, config),
  )


def forward_inputs(
  net: segmenter.Segmenter,
  params: dict,
  batch_stats: dict,
  ctx: StepContext,
  names: Sequence[str],
) -> tuple[dict[str, segmenter.Outputs], dict]:
  """Forward some inputs in their order, which the running statistics follow.

  With `bn_stats_from` 'target' they follow the input of that name alone, where
  there is one.

  Returns:
    The outputs of each, and the new running statistics.
  """
  outputs, stats = {}, batch_stats
  drawn = segmenter.rng_names(ctx.config)
  only = ctx.config.bn_stats_from
  for name in names:
    rngs = {rng: ctx.rng(f'{rng} of {name}')[0] for rng in drawn}
    outputs[name], moved = segmenter.forward(
      net, params, stats, ctx.inputs[name].image, rngs
    )
    if only in ('both', name) or only not in ctx.inputs:
      stats = moved
  return outputs, stats


def decode(
  net: segmenter.Segmenter,
  params: dict,
  batch_stats: dict,
  ctx: StepContext,
  name: str,
  trains: str,
) -> dict[str, Array]:
  """Return the logits of an input again, with the gradient of one side.

  Args:
    net: the segmenter.
    params, batch_stats: its variables.
    ctx: with the outputs of the input.
    name: the input's.
    trains: 'heads' for the heads' own parameters, or 'features' for all that
      comes before them.

  Returns:
    {head: f32[B, H, W, C]}, as of segmenter.forward.
  """
  heads = [*segmenter.head_params(params, ctx.config).values()]
  stop = jax.lax.stop_gradient
  decoder = {
    key: tree
    if any(tree is h for h in heads) == (trains == 'heads')
    # Of the decoder, too, what both heads share comes before them.
    else stop(tree)
    for key, tree in params['decoder'].items()
  }
  features = ctx.outputs[name].features
  rngs = {
    rng: ctx.rng(f'{rng} of {name}')[0]
    for rng in segmenter.rng_names(ctx.config)
  }
  return segmenter.decode(
    net,
    params | {'decoder': decoder},
    batch_stats,
    stop(features) if trains == 'heads' else features,
    ctx.inputs[name].image.shape[1:3],
    rngs,
  )


def valid_pixels(batch: dict, config: Any) -> dict[str, Array]:
  """Count the pixels that each labelled stream's cross entropy divides by."""
  parts = config.grad_accum_steps
  valid = {
    stream: jnp.sum(given['label'] != losses.IGNORE) / parts
    for stream, given in batch.items()
    if 'label' in given
  }
  if config.ce_reduction == 'all':
    return dict.fromkeys(valid, sum(valid.values()))
  return valid


def cross_entropies(
  ctx: StepContext, valid: dict[str, Array]
) -> dict[str, Array]:
  """Return the terms seg_<input>_<head> of what was forwarded with labels.

  A crop in detail (HRDA) is a head of that name, with its part of the labels.
  """
  config, terms = ctx.config, {}
  for name, outputs in ctx.outputs.items():
    example = ctx.inputs[name]
    if example.label is None:
      continue
    heads: dict[str, Any] = {h: (x, example) for h, x in outputs.logits.items()}
    if outputs.detail is not None:
      heads['detail'] = outputs.detail.logits, _crop(example, outputs.detail)
    for head, (logits, told) in heads.items():
      terms[f'seg_{name}_{head}'] = losses.cross_entropy(
        logits,
        told.label,
        config.ce_reduction,
        valid.get(name) if told is example else None,
        told.soft,
        config.focal_gamma,
        told.weight,
      )
  return terms


def _crop(example, detail):
  """Return the part of an example's labels and weights that a crop has."""
  height, width = detail.logits.shape[1:3]

  def crop(x):
    if x is None:
      return None
    x = jax.lax.dynamic_slice_in_dim(x, detail.top, height, 1)
    return jax.lax.dynamic_slice_in_dim(x, detail.left, width, 2)

  told = ('label', 'soft', 'weight')
  return example._replace(**{key: crop(getattr(example, key)) for key in told})
