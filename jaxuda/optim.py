"""The two players' optimizers, as optax transformations."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxuda.models import deeplab


def poly(base: float, end: int, power: float, warmup: int = 0) -> Callable:
  """lr(i) = base (1 - i / end)^power for the 0-based step i.

  (AdaptSegNet, train_gta2cityscapes_multi.py, lr_poly.) The end is often
  beyond the training's: 250,000 in ADVENT, which stops at 120,000. In the first
  `warmup` steps it is base i / warmup (CLAN, CLAN_train.py).
  """

  def schedule(step):
    rest = jnp.clip(1 - step / end, 0.0, 1.0)
    rate = base * rest**power
    if not warmup:
      return rate
    return jnp.where(step < warmup, base * step / warmup, rate)

  return schedule


def horizon(config) -> int:
  """The step at which an experiment's learning rate would reach 0."""
  o = config.optim
  return config.steps if o.horizon is None else o.horizon


class SGDState(NamedTuple):
  """Steps taken, and torch's momentum buffers."""

  count: jax.Array
  momentum: optax.Updates


def sgd(
  rate: Callable,
  momentum: float,
  weight_decay: float,
  repeats: Callable = lambda params: jax.tree.map(lambda _: 1, params),
  nesterov: bool = False,
) -> optax.GradientTransformation:
  """torch's SGD, of parameters that may be listed several times.

  g <- g + decay p; buffer <- momentum buffer + g; p <- p - rate buffer. The
  learning rate multiplies the buffer when it is applied. A parameter listed n
  times goes through this n times a step on one gradient array, to which the
  authors' torch added the decay in place, so that it accumulates
  (torch/optim/sgd.py at 0113c318).

  Args:
    rate: of the 0-based step.
    momentum, weight_decay: torch's.
    repeats: params -> the same tree of how often each one is listed.
    nesterov: whether p moves by g + momentum buffer in the buffer's place.
  """

  def init(params):
    return SGDState(
      jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params)
    )

  def update(grads, state, params):
    lr = rate(state.count)

    def leaf(grad, buffer, start, times):
      param = start
      for _ in range(times):
        grad = grad + weight_decay * param
        buffer = momentum * buffer + grad
        move = grad + momentum * buffer if nesterov else buffer
        param = param - lr * move
      return param - start, buffer

    leaves, tree = jax.tree.flatten(grads)
    others = map(jax.tree.leaves, (state.momentum, params, repeats(params)))
    moved = [leaf(*each) for each in zip(leaves, *others, strict=True)]
    updates, buffers = (tree.unflatten(m[i] for m in moved) for i in (0, 1))
    return updates, SGDState(state.count + 1, buffers)

  return optax.GradientTransformation(init, update)


def times_listed(params):
  """How often the originals' SGD lists each of a ResNet's parameters.

  Their generator walks modules() and yields each module's recursive
  parameters(): a block's convolutions come with the block, with its layer and
  by themselves; a shortcut's convolution also with the shortcut (AdaptSegNet,
  model/deeplab_multi.py, get_1x_lr_params_NOscale; the same in ADVENT, BDL,
  CLAN and CRST, but not in FADA, VGG-16 and the discriminators).
  """

  def count(path, _):
    names = [key.key for key in path]
    in_block = len(names) > 3 and names[1].startswith('layer')
    return 1 + in_block * (3 if names[-2].startswith('downsample') else 2)

  return jax.tree_util.tree_map_with_path(count, params)


def segmenter(config) -> optax.GradientTransformation:
  """The segmenter's optimizer; heads learn faster, what is frozen not at all.

  Args:
    config: an experiment's ConfigDict; reads `optim`, `model` and `steps`.
  """
  o = config.optim

  def group(factor):
    rate = poly(factor * o.lr, horizon(config), o.power, o.warmup)
    if o.name == 'adamw':
      return optax.adamw(
        rate, b1=o.momentum, b2=0.99, weight_decay=o.weight_decay
      )
    listed = {'repeats': times_listed} if o.repeats == 'authors' else {}
    return sgd(rate, o.momentum, o.weight_decay, nesterov=o.nesterov, **listed)

  groups = {
    'backbone': group(1.0),
    'head': group(o.head_factor),
    'frozen': optax.set_to_zero(),
  }
  return optax.partition(
    groups, lambda params: group_labels(params, config.model)
  )


def group_labels(params, model):
  """Each parameter's group: 'head', 'backbone' or 'frozen'.

  Frozen are batch norm's affine parameters (the only ones called scale, and
  the biases beside them), where the originals set requires_grad=False, and
  the ASPP branches that are not live: torch leaves alone what has no gradient,
  without decay and momentum.

  Args:
    params: the segmenter's.
    model: config.model; reads `affine` and `live_branches`.
  """
  live = [f'conv2d_list_{i}' for i in range(model.live_branches)]

  def label(path, _):
    names = [key.key for key in path]
    if names[0] in deeplab.HEADS:
      return 'head' if names[1] in live else 'frozen'
    in_norm = names[-2].startswith('bn') or names[-2] == 'downsample_1'
    frozen = in_norm and model.affine == 'frozen'
    return 'frozen' if frozen else 'backbone'

  return jax.tree_util.tree_map_with_path(label, params)


def discriminators(config) -> optax.GradientTransformation:
  """Adam with betas (0.9, 0.99) on the segmenter's schedule.

  optax's epsilon placement is torch's since 1.3.
  """
  d, o = config.discriminator, config.optim
  schedule = poly(d.lr, horizon(config), o.power, o.warmup)
  return optax.adam(schedule, b1=0.9, b2=0.99)
