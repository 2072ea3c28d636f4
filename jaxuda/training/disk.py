"""Whether a run's checkpoints will find room on its disk."""

import pathlib
import shutil

import jax

from jaxuda import checkpoints, experiment
from jaxuda.utils.errors import UserError

_IN_FLIGHT = 1  # is written before an older one goes
_BEST = 1


def check_room(config, workdir: pathlib.Path) -> None:
  """Refuse to train where the checkpoints will find no room.

  Args:
    config: the experiment's.
    workdir: the run's folder, which need not be there.

  Raises:
    UserError: says how much there is, and how much will be needed.
  """
  if jax.process_index() > 0:
    return
  there = checkpoints.steps(workdir / 'checkpoints')
  missing = max(0, _most(config) - len(there))
  needed = missing * _bytes(config)
  above = next(p for p in (workdir, *workdir.resolve().parents) if p.exists())
  free = shutil.disk_usage(above).free
  if needed > free:
    raise UserError(
      f'{workdir}: its disk has {_size(free)} free, and {missing} checkpoints '
      f'will take {_size(needed)}: make room, give --workdir=DIR of another '
      'disk, or keep fewer (config.keep_checkpoints).'
    )


def _most(config):
  """Return how many checkpoints there may be at once."""
  kept = config.keep_checkpoints
  every = config.steps // kept.every if kept.every else 0
  saved = {config.steps}
  for each in (config.checkpoint_every, config.eval_every):
    saved |= {*range(each, config.steps, each)}
  return min(len(saved), kept.latest + every + _BEST + _IN_FLIGHT)


def _bytes(config):
  """Return the size of a checkpoint, which is that of the state."""
  leaves = jax.tree.leaves(experiment.abstract_state(config))
  return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _size(count):
  return f'{count / 2**20:,.0f} MiB'
