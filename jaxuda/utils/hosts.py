"""Several hosts, one process each: how they join, and what if one is lost."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator

from absl import flags

from jaxuda.utils.errors import UserError

_HEARTBEAT_S = 60

# What runtimes say when a peer is gone: gloo, NCCL, the coordination service.
_LOST = re.compile(
  r'gloo|nccl|connection (reset|closed|refused)|coordination|heartbeat|peer|'
  r'task .* (died|unavailable)|UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED',
  re.IGNORECASE,
)


def define_flags(command) -> None:
  """Define the flags by which a command line joins others.

  Args:
    command: a cli.Flags.
  """
  command.boolean(
    'distributed',
    False,
    'Join the other hosts of this job: SLURM, Open MPI, Kubernetes and TPU '
    'pods are known to jax; elsewhere give --coordinator.',
  )
  command.text(
    'coordinator',
    None,
    'HOST:PORT of the first process, reachable by all; with --num_processes '
    'and --process_id.',
  )
  command.integer('num_processes', None, 'With --coordinator.')
  command.integer('process_id', None, 'With --coordinator; from 0.')


def join(values: flags.FlagValues, patience_s: float = _HEARTBEAT_S) -> None:
  """Join the other processes, once, if the flags say so; before any array.

  Args:
    values: of the command.
    patience_s: a process that is silent for so long is taken to be dead, and
      jax then ends the others with a dump.

  Raises:
    UserError: there is nothing to join, or some but not all flags are given.
  """
  names = ('coordinator', 'num_processes', 'process_id')
  given = {name: values[name].value for name in names}
  there = [name for name, value in given.items() if value is not None]
  if there and len(there) < len(names):
    missing = ', '.join(f'--{name}' for name in names if name not in there)
    raise UserError(f'--{there[0]} also needs {missing}.')
  if not there and not values.distributed:
    return
  import jax  # late, because command lines answer before they need it

  if jax.distributed.is_initialized():
    return
  try:
    jax.distributed.initialize(
      given['coordinator'],
      given['num_processes'],
      given['process_id'],
      heartbeat_timeout_seconds=int(patience_s),
      shutdown_timeout_seconds=_HEARTBEAT_S,
    )
  except (RuntimeError, ValueError) as e:
    reason = str(e).partition('\n')[0].rstrip('.')
    raise UserError(
      f'--distributed found no hosts to join ({reason}): leave it out, start '
      'this command on each host of a cluster that jax knows, or give '
      '--coordinator=HOST:PORT --num_processes=N --process_id=I.'
    ) from e


def is_lost(error: Exception) -> bool:
  """Return whether an error says that another process of the run has died."""
  import jax

  if isinstance(error, UserError) or jax.process_count() == 1:
    return False
  return bool(_LOST.search(str(error)))


@contextlib.contextmanager
def exit_if_peer_lost() -> Iterator[None]:
  """End this process with a sentence, and status 2, when another has died.

  At once, as jax's own exit would wait for the dead at a barrier. Where this
  process notices nothing, because it waits, a run's watchdog ends it, or jax.
  """
  try:
    yield
  except Exception as e:
    if not is_lost(e):
      raise
    import jax

    sys.stdout.flush()
    reason = str(e).partition('\n')[0].rstrip('.')
    print(
      f'error: process {jax.process_index()} has lost another process of this '
      f'run ({reason}): see its output, then start all of them again; '
      'training goes on from the last checkpoint.',
      file=sys.stderr,
      flush=True,
    )
    os._exit(2)
