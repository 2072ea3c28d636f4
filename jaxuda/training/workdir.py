"""A run's folder: its config and its lock.

config.json   the config of the run; a later start is compared with it
tables/       copies of users' own class tables that it names
.lock         held by the process that trains here
"""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxuda import config as config_lib
from jaxuda.config import class_tables
from jaxuda.utils import lock
from jaxuda.utils.errors import UserError


@contextlib.contextmanager
def open_workdir(
  path: str | pathlib.Path, config: Mapping[str, Any]
) -> Iterator[bool]:
  """Hold a run's folder: `with open_workdir(path, config) as resumed:`.

  Every process of a run calls this; the first one does the work.

  Args:
    path: of the folder; it is made if needed.
    config: nested, JSON-able; stored as config.json, and brought up to date
      where it may change.

  Yields:
    Whether the folder held a run of this config before.

  Raises:
    UserError: the folder cannot be written, is in use by another run, or
      holds a run of another config.
  """
  path = pathlib.Path(path)
  with contextlib.ExitStack() as stack:
    resumed = False
    if jax.process_index() == 0:
      stack.enter_context(_locked(path))
      resumed = _store_config(path, config)
    if jax.process_count() > 1:
      resumed = multihost_utils.broadcast_one_to_all(np.array(resumed))
    yield bool(resumed)


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  """Make and hold a folder; the system frees it however the process ends."""
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(lock.hold(path / '.lock'))
    except lock.HeldError as e:
      raise UserError(
        f'{path} is in use by process {e}: stop it, wait for it, or give '
        'another --workdir'
      ) from None
    except OSError as e:
      raise UserError(
        f'cannot write to the workdir {path} ({e.strerror}): give another one '
        'with --workdir=DIR'
      ) from None
    yield


def _store_config(path: pathlib.Path, config: Mapping[str, Any]) -> bool:
  """Write config.json, or compare with it; return whether it was there."""
  resumed = check_config(path, config)
  config_lib.write_run(path, config)
  return resumed


def check_config(
  path: str | pathlib.Path,
  config: Mapping[str, Any],
  may_change: Sequence[str] = (),
) -> bool:
  """Return whether a folder holds a run of this config; change nothing.

  Args:
    path: of the folder.
    config: nested, JSON-able.
    may_change: keys that may differ, beyond config.MAY_CHANGE_ON_RESUME; a key
      stands for all keys below it.

  Raises:
    UserError: it holds a run of another config, or one of an unknown config.
  """
  file = pathlib.Path(path) / 'config.json'
  if not file.exists():
    if any(file.parent.glob('checkpoints/*')):
      raise UserError(
        f'{path} holds checkpoints but no config.json, so it is unknown what '
        'made them: give another --workdir'
      ) from None
    return False
  stored = config_lib.flatten(config_lib.read_file(file))
  # As they are stored: tuples become lists.
  given = config_lib.flatten(json.loads(json.dumps(config)))
  stored, given = (
    _without_levels(stored, given),
    _without_levels(given, stored),
  )
  lines = []
  for key in dict.fromkeys([*stored, *given]):
    sides = [
      json.dumps(side[key]) if key in side else 'absent'
      for side in (stored, given)
    ]
    if sides[0] != sides[1] and not config_lib.may_change(key, may_change):
      lines.append(f'  {key}: {sides[0]} -> {sides[1]}')
  if lines:
    raise UserError(
      f'{path} holds a run of another config (stored -> given):\n'
      + '\n'.join(lines)
      + '\ngive another --workdir, or the stored values'
    )
  same = {key: given[key] for key in given if stored.get(key) == given[key]}
  class_tables.check(pathlib.Path(path), same)
  return True


def _without_levels(flat: dict[str, Any], other: Mapping) -> dict[str, Any]:
  """Return a flat config with one entry for what the other has as a value.

  A stage that only one of them has then differs in one line, with its name.
  """
  found = {}
  for key, value in flat.items():
    parts = key.split('.')
    above = ('.'.join(parts[:i]) for i in range(1, len(parts)))
    level = next((name for name in above if name in other), None)
    found[level or key] = flat.get(f'{level}.name') if level else value
  return found
