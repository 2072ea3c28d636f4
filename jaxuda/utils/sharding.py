"""One mesh axis, 'data': batches are split over it, states are replicated.

Also what the processes of a run, one on each host, tell each other.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxuda.utils.errors import UserError


def make_mesh() -> jax.sharding.Mesh:
  """Return the mesh of all devices of all hosts along one axis.

  Auto axes: under the default, Explicit, scatter-add (the confusion matrix)
  and a vmapped dynamic_slice (random patches) are refused.
  """
  return jax.make_mesh(
    (jax.device_count(),), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )


def replicated(mesh: jax.sharding.Mesh) -> jax.NamedSharding:
  """Return the sharding of states, parameters and counts."""
  return jax.NamedSharding(mesh, jax.P())


def split(mesh: jax.sharding.Mesh) -> jax.NamedSharding:
  """Return the sharding of batches, along their first axis."""
  return jax.NamedSharding(mesh, jax.P('data'))


def shapes(tree: Any, placed: jax.NamedSharding) -> Any:
  """Return a tree's shapes and types, on the devices of a sharding."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed), tree
  )


def shard_batch(mesh: jax.sharding.Mesh) -> Callable:
  """Return a function that puts this process's share of a batch on its devices.

  Arrays are split along their first axis; whatever is not an array stays.
  """
  sharding = split(mesh)

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


def check_batch(
  key: str, size: int, mesh: jax.sharding.Mesh, parts: int = 1
) -> None:
  """Refuse a batch that cannot be split evenly.

  Args:
    key: of the batch size in a config.
    size: of the batch.
    mesh: of the devices that share it.
    parts: in which a step goes through the batch.

  Raises:
    UserError: the batch, or a part of it, does not divide over the devices.
  """
  if size < 1 or size % (mesh.size * parts):
    times = f' times grad_accum_steps={parts}' if parts > 1 else ''
    raise UserError(
      f'config.{key}={size} must be a multiple of the {mesh.size} '
      f'device(s){times}.'
    )


def barrier(where: str) -> None:
  """Let the processes of a run wait for each other at a place of this name."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(where)


def any_process(flag: bool) -> bool:
  """Return whether the flag is set on any process of the run."""
  return sum_of_processes(int(flag)) > 0


def sum_of_processes(number: int) -> int:
  """Return the sum of the numbers that the processes of the run give."""
  if jax.process_count() == 1:
    return number
  return int(multihost_utils.process_allgather(np.array(number)).sum())
