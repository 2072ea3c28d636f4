"""Everything that evolves in training, in one pytree, and how it is born."""

import functools
from collections.abc import Mapping

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxuda.models import deeplab

Array = jax.Array


@flax.struct.dataclass
class Player:
  """One side of the game.

  Attributes:
    params: the segmenter's parameters, or {discriminator: parameters}.
    batch_stats: the segmenter's running batch-norm statistics, else {}.
    opt_state: of the player's own optax transformation.
  """

  params: dict
  batch_stats: dict
  opt_state: optax.OptState


@flax.struct.dataclass
class TrainState:
  """The state of a run; nothing that evolves lives anywhere else.

  Attributes:
    step: i32[], steps taken, skipped ones included.
    segmenter, discriminators: the two players.
    skipped: i32[], steps whose gradients were not finite.
    skipped_in_row: i32[], how many such steps came last without a break; it
      stops moving once it reaches the limit at which the run is to end.
  """

  step: Array
  segmenter: Player
  discriminators: Player
  skipped: Array
  skipped_in_row: Array


@flax.struct.dataclass
class Nets:
  """The modules of a run (static; nothing here evolves)."""

  segmenter: deeplab.DeepLabV2 = flax.struct.field(pytree_node=False)
  # Each says in `channels` what the views that it looks at have.
  discriminators: Mapping[str, nn.Module] = flax.struct.field(pytree_node=False)


@flax.struct.dataclass
class Txs:
  """The optax transformations of the two players (static)."""

  segmenter: optax.GradientTransformation = flax.struct.field(pytree_node=False)
  discriminators: optax.GradientTransformation = flax.struct.field(
    pytree_node=False
  )


def init(
  rng: Array, nets: Nets, txs: Txs, variables: dict | None = None
) -> TrainState:
  """A fresh state; pure, so that `jax.eval_shape` gives its shapes.

  Args:
    rng: a typed key.
    nets, txs: of the run.
    variables: the segmenter's params and batch_stats, where they are known, so
      that nothing is compiled to draw them.
  """
  image = jnp.zeros((1, 64, 64, 3), jnp.uint8)
  rngs = jax.random.split(rng, 1 + len(nets.discriminators))
  if variables is None:
    variables = nets.segmenter.init(rngs[0], image, train=False)
  params = variables['params']
  d_params = {
    name: net.init(key, jnp.zeros((1, 64, 64, net.channels)))['params']
    for key, (name, net) in zip(
      rngs[1:], sorted(nets.discriminators.items()), strict=True
    )
  }
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    segmenter=Player(
      params, variables.get('batch_stats', {}), txs.segmenter.init(params)
    ),
    discriminators=Player(d_params, {}, txs.discriminators.init(d_params)),
    skipped=jnp.zeros((), jnp.int32),
    skipped_in_row=jnp.zeros((), jnp.int32),
  )


def abstract(nets: Nets, txs: Txs) -> TrainState:
  """The shapes and types of a state."""
  make = functools.partial(init, nets=nets, txs=txs)
  known = deeplab.abstract(nets.segmenter)
  return jax.eval_shape(make, jax.random.key(0), variables=known)
