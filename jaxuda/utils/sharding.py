"""One mesh axis, 'data': batches are split over it, states are replicated.

And what the processes of a run, one a host, tell each other.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxuda.utils.errors import UserError


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


def shard_batch(mesh: jax.sharding.Mesh) -> Callable:
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


def check_batch(
  key: str, size: int, mesh: jax.sharding.Mesh, parts: int = 1
) -> None:
  """A UserError where a batch, or a part of it, cannot be split evenly."""
  if size < 1 or size % (mesh.size * parts):
    times = f' times grad_accum_steps={parts}' if parts > 1 else ''
    raise UserError(
      f'config.{key}={size} must be a multiple of the {mesh.size} '
      f'device(s){times}.'
    )


def barrier(where: str) -> None:
  """Lets the processes of a run wait for each other."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(where)


def any_process(flag: bool) -> bool:
  """Whether the flag is set on any process of the run."""
  return sum_of_processes(int(flag)) > 0


def sum_of_processes(number: int) -> int:
  """The sum of the numbers that the processes of the run give."""
  if jax.process_count() == 1:
    return number
  return int(multihost_utils.process_allgather(np.array(number)).sum())
