"""One mesh axis, 'data': batches are split over it, states are replicated."""

from collections.abc import Callable

import jax
import numpy as np

from jaxuda.errors import UserError


def make_mesh() -> jax.sharding.Mesh:
  """All devices of all hosts along one axis.

  Auto axes: under the default, Explicit, scatter-add (the confusion matrix)
  and a vmapped dynamic_slice (random patches) are refused.
  """
  return jax.make_mesh(
    (jax.device_count(),), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )


def replicated(mesh: jax.sharding.Mesh) -> jax.NamedSharding:
  """The sharding of states, parameters and counts."""
  return jax.NamedSharding(mesh, jax.P())


def putter(mesh: jax.sharding.Mesh) -> Callable:
  """A function that moves this process's share of a batch to its devices.

  Arrays are split along their first axis; whatever is not an array stays.
  """
  sharding = jax.NamedSharding(mesh, jax.P('data'))

  def put(batch):
    return jax.tree.map(
      lambda x: (
        jax.make_array_from_process_local_data(sharding, x)
        if isinstance(x, np.ndarray)
        else x
      ),
      batch,
    )

  return put


def check_batch(key: str, size: int, mesh: jax.sharding.Mesh) -> None:
  """A UserError where a batch cannot be split evenly over the devices."""
  if size < 1 or size % mesh.size:
    raise UserError(
      f'config.{key}={size} must be a multiple of the {mesh.size} device(s).'
    )
