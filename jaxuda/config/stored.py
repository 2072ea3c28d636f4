"""Configs as JSON: what a run stores, reads again and may change."""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from jaxuda.config import class_tables, values
from jaxuda.config.flat import flatten
from jaxuda.utils import sealed
from jaxuda.utils.errors import UserError

FILE = 'config.json'  # in a run's folder
# What may differ when a run goes on: it does not change any number.
MAY_CHANGE_ON_RESUME = (
  'name',
  'data_dir',
  'log_every',
  'eval_every',
  'checkpoint_every',
  'num_log_images',
  'num_unlabelled_images',
  'keep_checkpoints',
  'max_nonfinite_steps',
  'max_loss_ratio',
  'stuck_after',
  'eval.batch_size',
)


def read_run(workdir: str | os.PathLike) -> ConfigDict:
  """Return the config that a workdir was trained with.

  Users' own class tables are those that it keeps.

  Raises:
    UserError: it has none, a damaged one, or one with a key or a value that
      this version does not have.
  """
  path = pathlib.Path(workdir) / FILE
  if not path.exists():
    raise UserError(f'{workdir} is not a run: it has no config.json.')
  content = read_file(path)
  config = ConfigDict(_tuples(content))
  try:
    values.check_whole(config)
  except UserError as e:
    raise UserError(f'{path}: {e}') from None
  kept = class_tables.kept(path.parent, flatten(content))
  config.update_from_flattened_dict(kept)
  return config


def read_file(path: pathlib.Path) -> dict:
  """Return the content of a config.json as it stands there.

  Raises:
    UserError: it is damaged.
  """
  mend = (
    'put a copy of it back; one that you have edited is taken without its '
    f'{sealed.KEY}'
  )
  return sealed.read(path, None, mend)


def write_run(workdir: str | os.PathLike, config: Mapping[str, Any]) -> None:
  """Store a run's config, JSON-able, and users' own class tables of it.

  Raises:
    UserError: a file cannot be written, or a table is not there.
  """
  workdir = pathlib.Path(workdir)
  class_tables.keep(workdir, flatten(config))
  sealed.write(workdir / FILE, config)


def read_stored(workdir: str | os.PathLike) -> dict[str, Any]:
  """Return the values that a run was started with, dots for levels.

  {} where there is no run, or a damaged one, of which others tell.
  """
  try:
    return flatten(read_file(pathlib.Path(workdir) / FILE))
  except UserError:
    return {}


def _tuples(value):
  """JSON's lists back to the tuples that a config holds."""
  if isinstance(value, dict):
    return {k: _tuples(v) for k, v in value.items()}
  return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def to_json(config: ConfigDict) -> dict:
  """Return the config as plain JSON values; tuples become lists."""
  return json.loads(json.dumps(config.to_dict()))


def may_change(key: str, more: Sequence[str] = ()) -> bool:
  """Return whether a key, or one above it, may differ when a run goes on.

  The same keys of the stages before it may.

  Args:
    key: dots for levels.
    more: further keys that may.
  """
  own = re.sub(r'^(\w+\.)*\w+_stage\.', '', key)
  parts = own.split('.')
  above = {'.'.join(parts[: i + 1]) for i in range(len(parts))}
  return not above.isdisjoint((*MAY_CHANGE_ON_RESUME, *more))


def digest(config: ConfigDict, length: int = 8) -> str:
  """Return a short hash of all that makes a trained network what it is.

  How it is scored and logged is left out, but for which of a run's networks is:
  others go on from that one.
  """
  flat = flatten(to_json(config))
  kept = {
    k: v
    for k, v in flat.items()
    if k.endswith('eval.network') or not may_change(k, ('eval', 'seed'))
  }
  text = json.dumps(kept, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:length]
