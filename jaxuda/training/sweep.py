"""Several runs by one command: seeds, and values of config keys.

Each is a run as any other, in a folder and a process of its own; on several
GPUs one runs on each. Started again, those that are finished are left as they
are, and the others go on.
"""

import concurrent.futures
import itertools
import os
import pathlib
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple

from absl import flags

from jaxuda import config as config_lib
from jaxuda.utils.errors import UserError


class Planned(NamedTuple):
  """One of the runs.

  Attributes:
    workdir: its folder.
    command: of its process.
    done: whether it is finished.
  """

  workdir: pathlib.Path
  command: list[str]
  done: bool


def take(argv: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
  """Take --seeds and --sweep.KEY off a command line.

  Args:
    argv: the command and its arguments.

  Returns:
    The others, and a config key to its values, in order; {} where there are
    neither.

  Raises:
    UserError: one of them has no value, or the same twice.
  """
  rest, values = [], {}
  for argument in argv:
    match = re.fullmatch(r'--?(?:sweep\.([\w.]+)|seeds)(=.*)?', argument)
    if not match:
      rest.append(argument)
      continue
    key = match[1] or 'seed'
    # Not at the commas of a tuple.
    found = re.split(r',(?![^(]*\))', (match[2] or '=')[1:])
    if not all(found) or len(set(found)) < len(found) or key in values:
      raise UserError(
        f'{argument}: give each value once, with commas between them, as in '
        '--seeds=0,1,2.'
      )
    values[key] = found
  values['seed'] = values.pop('seed', [])  # the seeds of one config in a row
  return rest, {key: found for key, found in values.items() if found}


def plan(
  argv: Sequence[str], values: dict[str, list[str]], workdir: str | None
) -> list[Planned]:
  """Return the runs, all of whose configs are loaded to check them.

  Args:
    argv: the command and its arguments, --workdir among them.
    values: of `take`.
    workdir: what their folders begin with; None for the default names.

  Raises:
    UserError: a key or a value that the config cannot have; or a folder holds a
      run of another config.
  """
  from jaxuda.training import first_checks, own_data  # late: they import jax
  from jaxuda.training import workdir as workdir_lib

  rest = [a for a in argv[1:] if not re.match('--?workdir=', a)]
  if len(rest) < len(argv[1:]) - 1 or {'--workdir', '-workdir'} & {*rest}:
    raise UserError('with --seeds and --sweep give one --workdir=DIR.')
  planned = []
  for combination in itertools.product(*values.values()):
    chosen = dict(zip(values, combination, strict=True))
    overrides = [f'--config.{key}={value}' for key, value in chosen.items()]
    given = flags.FlagValues()
    whole = config_lib.define(given, [argv[0], *_of_config(rest), *overrides])
    config_lib.parse_flags(given, whole)
    config = config_lib.value(given)
    name = config_lib.run_name(given, whole)
    folder = pathlib.Path('runs', name)
    if workdir:
      more = '-'.join(f'{key}={value}' for key, value in chosen.items())
      more = re.sub(r'[^-=.\w]+', '_', more)
      folder = pathlib.Path(f'{workdir}-{more}')
    first_checks.check(config, folder)
    if stored := config_lib.read_stored(folder):
      own_data.settle(config, stored)
      workdir_lib.check_config(folder, config_lib.to_json(config))
    command = [
      *(sys.executable, '-m', 'jaxuda.main', *rest, *overrides),
      f'--workdir={folder}',
    ]
    planned.append(Planned(folder, command, (folder / 'scores.json').exists()))
  return planned


def _of_config(arguments):
  """Return --config and its overrides alone."""
  found, take_next = [], False
  for argument in arguments:
    if take_next or re.match(r'--?(no)?config\b', argument):
      found.append(argument)
      take_next = argument in ('--config', '-config')
  return found


def run(planned: Sequence[Planned]) -> int:
  """Train what is not finished; return an exit status.

  One that fails does not stop the others. A signal is passed on to those that
  train, which save and end.

  Returns:
    0, or the status of the first run that failed.
  """
  places = gpus() or [None]
  free: queue.SimpleQueue = queue.SimpleQueue()
  for place in places:
    free.put(place)
  children, total, statuses = _Children(), len(planned), {}

  def train(number, each):
    place = free.get()
    try:
      return _train(number, total, each, place, len(places) > 1, children)
    finally:
      free.put(place)

  with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
    tasks = {
      pool.submit(train, i, each): each for i, each in enumerate(planned, 1)
    }
    try:
      for task in concurrent.futures.as_completed(tasks):
        statuses[tasks[task].workdir] = task.result()
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      children.stop()
      raise
  failed = {folder: s for folder, s in statuses.items() if s}
  for folder, status in failed.items():
    print(f'{folder} ended with status {status}')
  return next(iter(failed.values()), 0)


def _train(number, total, each, place, several, children) -> int:
  """Train one run on a GPU of several, or on what there is."""
  title = f'run {number} of {total}: {each.workdir}'
  if each.done:
    print(f'{title} is finished', flush=True)
    return 0
  print(f'{title}\n{shlex.join(each.command)}', flush=True)
  env, out = dict(os.environ), None
  each.workdir.parent.mkdir(parents=True, exist_ok=True)
  if several:
    env['CUDA_VISIBLE_DEVICES'] = place
    path = f'{each.workdir}.log'
    print(f'its output goes to {path}', flush=True)
    with open(path, 'a') as out:
      return children.run(each.command, env, out)
  return children.run(each.command, env, out)


class _Children:
  """Processes that can be stopped together; none is started afterwards."""

  def __init__(self):
    """Start none."""
    self._running: set[subprocess.Popen] = set()
    self._lock, self._stopped = threading.Lock(), False

  def run(self, command, env, out) -> int:
    """Run a command to its end; return its exit status."""
    with self._lock:
      if self._stopped:
        return 128 + signal.SIGTERM
      child = subprocess.Popen(command, env=env, stdout=out, stderr=out)
      self._running.add(child)
    try:
      return child.wait()
    finally:
      with self._lock:
        self._running.discard(child)

  def stop(self) -> None:
    """Signal all of them, then wait until they have ended."""
    with self._lock:
      self._stopped = True
      running = [*self._running]
      for child in running:
        child.send_signal(signal.SIGTERM)
    for child in running:
      child.wait()


def gpus() -> list[str]:
  """Return the GPUs of this machine as CUDA_VISIBLE_DEVICES names them.

  jax is not asked: it would take their memory.
  """
  named = os.environ.get('CUDA_VISIBLE_DEVICES')
  if named is not None:
    return [name for name in named.split(',') if name.strip()]
  if not shutil.which('nvidia-smi'):
    return []
  done = subprocess.run(
    ['nvidia-smi', '--list-gpus'], capture_output=True, text=True
  )
  lines = [line for line in done.stdout.splitlines() if line.startswith('GPU')]
  return [str(i) for i in range(len(lines))]
