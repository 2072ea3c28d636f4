"""The optimizers of segmenter and discriminators, as optax transformations."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxuda.models import segmenter as segmenter_lib
from jaxuda.utils.errors import UserError


def poly(
  base: float,
  end: int,
  power: float,
  warmup: int = 0,
  warmup_from: float | None = None,
) -> Callable:
  """Return the schedule lr(i) = base (1 - i / end)^power of the 0-based step i.

  (AdaptSegNet, train_gta2cityscapes_multi.py, lr_poly.) The end is often
  beyond the training's: 250,000 in ADVENT, which stops at 120,000.

  Args:
    base, end, power: of the equation.
    warmup: the first so many steps have lower rates.
    warmup_from: None for base i / warmup (CLAN, CLAN_train.py); else lr(i)
      times a factor that rises evenly from this one to 1 (mmcv, 1e-6 in
      DAFormer's line).
  """

  decay = optax.polynomial_schedule(base, 0.0, power, end)
  if not warmup:
    return decay

  def schedule(step):
    rate = decay(step)
    if warmup_from is None:
      low = base * step / warmup
    else:
      low = rate * (1 - (1 - step / warmup) * (1 - warmup_from))
    return jnp.where(step < warmup, low, rate)

  return schedule


def decay_steps(config) -> int:
  """Return the step at which an experiment's learning rate would reach 0."""
  o = config.optim
  return config.steps if o.decay_steps is None else o.decay_steps


class SGDState(NamedTuple):
  """Steps taken, and torch's momentum buffers."""

  count: jax.Array  # type: ignore[assignment]  # hides tuple.count
  momentum: optax.Updates


def sgd(
  rate: Callable, momentum: float, weight_decay: float, nesterov: bool = False
) -> optax.GradientTransformation:
  """Return torch's SGD, whose decay goes through the momentum, too.

  Args:
    rate: of the 0-based step.
    momentum, weight_decay, nesterov: torch's.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.sgd(rate, momentum, nesterov),
  )


def repeated_sgd(
  rate: Callable, momentum: float, weight_decay: float, times_listed: Callable
) -> optax.GradientTransformation:
  """Return torch's SGD of parameters that are listed several times.

  g <- g + decay p; buffer <- momentum buffer + g; p <- p - rate buffer. The
  learning rate multiplies the buffer when it is applied. A parameter listed n
  times goes through this n times a step on one gradient array, to which the
  authors' torch added the decay in place, so that it accumulates
  (torch/optim/sgd.py at 0113c318).

  Args:
    rate: of the 0-based step.
    momentum, weight_decay: torch's.
    times_listed: params -> the same tree of how often each one is listed.
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
        param = param - lr * buffer
      return param - start, buffer

    leaves, tree = jax.tree.flatten(grads)
    others = map(
      jax.tree.leaves, (state.momentum, params, times_listed(params))
    )
    moved = [leaf(*each) for each in zip(leaves, *others, strict=True)]
    updates, buffers = (
      jax.tree.unflatten(tree, [m[i] for m in moved]) for i in (0, 1)
    )
    return updates, SGDState(state.count + 1, buffers)

  return optax.GradientTransformation(init, update)


def of_vector(
  tx: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Return the same transformation of all parameters as one vector.

  So it compiles once, and not for each of some hundred arrays. optax.flatten,
  which this is, refuses a group without parameters.
  """
  flat = optax.flatten(tx)

  def init(params):
    return flat.init(params) if jax.tree.leaves(params) else optax.EmptyState()

  def update(grads, state, params=None):
    if isinstance(state, optax.EmptyState):
      return grads, state
    return flat.update(grads, state, params)

  return optax.GradientTransformation(init, update)


def segmenter(config) -> optax.GradientTransformation:
  """Return the segmenter's optimizer; heads learn faster, frozen ones never.

  Args:
    config: an experiment's ConfigDict; reads `optim`, `model`, `steps` and
      `train_bn_affine`.

  Raises:
    UserError: two settings do not go together.
  """
  o = config.optim
  if o.nesterov and o.duplicate_params:
    raise UserError(
      'config.optim.nesterov=True: no original lists parameters several times '
      'and has this momentum; set config.optim.duplicate_params=False.'
    )

  def group(factor, decay):
    rate = _schedule(config, factor * o.lr)
    if o.name == 'adamw':
      return of_vector(
        optax.adamw(rate, b1=o.momentum, b2=o.beta2, weight_decay=decay)
      )
    if not o.duplicate_params:
      return sgd(rate, o.momentum, decay, o.nesterov)
    listed = functools.partial(segmenter_lib.times_listed, config=config)
    return repeated_sgd(rate, o.momentum, decay, listed)

  groups = {
    'backbone': group(1.0, o.weight_decay),
    'no_decay': group(1.0, 0.0),
    'head': group(o.head_factor, o.weight_decay),
    'frozen': optax.set_to_zero(),
  }
  return optax.partition(
    groups, lambda params: segmenter_lib.param_groups(params, config)
  )


def discriminators(config) -> optax.GradientTransformation:
  """Return Adam with betas (0.9, 0.99) on the segmenter's schedule.

  optax's epsilon placement is torch's since 1.3.
  """
  schedule = _schedule(config, config.discriminator.lr)
  return of_vector(optax.adam(schedule, b1=0.9, b2=0.99))


def learning_rate(config) -> Callable:
  """Return the encoder's learning rate, a function of the 0-based step."""
  return _schedule(config, config.optim.lr)


def _schedule(config, base):
  o = config.optim
  end = decay_steps(config)
  return poly(base, end, o.power, o.warmup, o.warmup_from)
