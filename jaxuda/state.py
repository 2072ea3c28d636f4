"""All that evolves in training, in one pytree, and how it is initialised."""

import functools
from collections.abc import Mapping

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxuda.models import segmenter as segmenter_lib

Array = jax.Array


@flax.struct.dataclass
class NetworkState:
  """What evolves of the segmenter, of its teacher, or of all discriminators.

  Attributes:
    params: the segmenter's parameters, or {discriminator: parameters}.
    batch_stats: the segmenter's running batch-norm statistics, else {}.
    opt_state: of its own optax transformation; () of a teacher.
  """

  params: dict
  batch_stats: dict
  opt_state: optax.OptState


@flax.struct.dataclass
class TrainState:
  """The state of a run; nothing that evolves lives anywhere else.

  Attributes:
    step: i32[], steps taken, skipped ones included.
    segmenter, discriminators: what is trained.
    skipped: i32[], steps whose gradients were not finite.
    skipped_in_row: i32[], how many such steps came last without a break; it
      stops moving once it reaches the limit at which the run is to end.
    ema: the teacher, a moving average of the segmenter's parameters with
      statistics of its own; None, without leaves, where a method has none.
  """

  step: Array
  segmenter: NetworkState
  discriminators: NetworkState
  skipped: Array
  skipped_in_row: Array
  ema: NetworkState | None = None


@flax.struct.dataclass
class Nets:
  """The modules of a run (static; nothing here evolves)."""

  segmenter: segmenter_lib.Segmenter = flax.struct.field(pytree_node=False)
  # Each says in `channels` what its input has.
  discriminators: Mapping[str, nn.Module] = flax.struct.field(pytree_node=False)
  # Whether the segmenter has a teacher.
  teacher: bool = flax.struct.field(pytree_node=False, default=False)


@flax.struct.dataclass
class Txs:
  """The optax transformations of segmenter and discriminators (static)."""

  segmenter: optax.GradientTransformation = flax.struct.field(pytree_node=False)
  discriminators: optax.GradientTransformation = flax.struct.field(
    pytree_node=False
  )


def init(
  rng: Array, nets: Nets, txs: Txs, variables: dict | None = None
) -> TrainState:
  """Return a fresh state; pure, so that `jax.eval_shape` gives its shapes.

  Args:
    rng: a typed key.
    nets, txs: of the run.
    variables: the segmenter's params and batch_stats, where they are known, so
      that nothing is compiled to draw them.
  """
  image = jnp.zeros((1, 64, 64, 3), jnp.uint8)
  rngs = jax.random.split(rng, 1 + len(nets.discriminators))
  known = variables or nets.segmenter.init(rngs[0], image, train=False)
  params, batch_stats = known['params'], known.get('batch_stats', {})
  d_params = {
    name: net.init(key, jnp.zeros((1, 64, 64, net.channels)))['params']
    for key, (name, net) in zip(
      rngs[1:], sorted(nets.discriminators.items()), strict=True
    )
  }
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    segmenter=NetworkState(params, batch_stats, txs.segmenter.init(params)),
    discriminators=NetworkState(
      d_params, {}, txs.discriminators.init(d_params)
    ),
    skipped=jnp.zeros((), jnp.int32),
    skipped_in_row=jnp.zeros((), jnp.int32),
    ema=teacher_of(params, batch_stats) if nets.teacher else None,
  )


def teacher_of(params: dict, batch_stats: dict) -> NetworkState:
  """Return a teacher that is a copy of the segmenter, in arrays of its own."""
  params, batch_stats = jax.tree.map(jnp.copy, (params, batch_stats))
  return NetworkState(params, batch_stats, ())


def abstract(nets: Nets, txs: Txs) -> TrainState:
  """Return the shapes and types of a state."""
  make = functools.partial(init, nets=nets, txs=txs)
  known = segmenter_lib.abstract(nets.segmenter)
  return jax.eval_shape(make, jax.random.key(0), variables=known)
