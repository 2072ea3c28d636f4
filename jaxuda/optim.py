"""The two players' optimizers, as optax transformations.

The originals' SGD lists each convolution of a residual block three times and
each shortcut four times, so that one step moves them about as often; here
every parameter is updated once.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxuda.errors import UserError
from jaxuda.models import deeplab


def poly(base: float, horizon: int, power: float) -> Callable:
  """lr(i) = base (1 - i / horizon)^power for the 0-based step i.

  (AdaptSegNet, train_gta2cityscapes_multi.py, lr_poly.) The horizon is often
  longer than the training: 250,000 in ADVENT, which stops at 120,000.
  """

  def schedule(step):
    rest = jnp.clip(1 - step / horizon, 0.0, 1.0)
    return base * rest**power

  return schedule


def _horizon(config) -> int:
  o = config.optim
  return config.steps if o.horizon is None else o.horizon


def segmenter(config) -> optax.GradientTransformation:
  """The segmenter's optimizer; heads learn faster, frozen affines not at all.

  `optim.name` 'sgd' is torch's form: g + decay p enters the momentum buffer,
  the learning rate multiplies the buffer when it is applied. 'adamw' decays
  the parameters apart from the gradient's moments.

  Args:
    config: an experiment's ConfigDict; reads `optim`, `model.affine`, `steps`.

  Raises:
    UserError: `optim.name` is neither.
  """
  o = config.optim

  def group(factor):
    rate = poly(factor * o.lr, _horizon(config), o.power)
    if o.name == 'adamw':
      return optax.adamw(
        rate, b1=o.momentum, b2=0.99, weight_decay=o.weight_decay
      )
    if o.name != 'sgd':
      raise UserError(f"config.optim.name={o.name!r} is not 'sgd' or 'adamw'.")
    return optax.chain(
      optax.add_decayed_weights(o.weight_decay),
      optax.trace(decay=o.momentum),
      optax.scale_by_learning_rate(rate),
    )

  groups = {
    'backbone': group(1.0),
    'head': group(o.head_factor),
    'frozen': optax.set_to_zero(),
  }
  frozen_affine = config.model.affine == 'frozen'
  return optax.partition(
    groups, lambda params: group_labels(params, frozen_affine)
  )


def group_labels(params, frozen_affine: bool):
  """Each parameter's group: 'head', 'backbone' or 'frozen'.

  Batch norm's affine parameters (the only ones called scale, and the biases
  beside them) are frozen where the originals set requires_grad=False.
  """

  def label(path, _):
    names = [key.key for key in path]
    if names[0] in deeplab.HEADS:
      return 'head'
    in_norm = names[-2].startswith('bn') or names[-2] == 'downsample_1'
    return 'frozen' if in_norm and frozen_affine else 'backbone'

  return jax.tree_util.tree_map_with_path(label, params)


def discriminators(config) -> optax.GradientTransformation:
  """Adam with betas (0.9, 0.99) on the segmenter's schedule.

  optax's epsilon placement is torch's since 1.3.
  """
  d, o = config.discriminator, config.optim
  schedule = poly(d.lr, _horizon(config), o.power)
  return optax.adam(schedule, b1=0.9, b2=0.99)
