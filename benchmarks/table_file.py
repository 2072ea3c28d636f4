"""The file of a table's results: what is kept of it, and where it is from."""

import datetime
import functools
import hashlib
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata

from benchmarks import rows
from jaxuda.config import loading as config_lib
from jaxuda.utils import files


def kept(
  path: pathlib.Path, table: str, split: str, settings: Mapping[str, str]
) -> dict:
  """The results there are, without the rows that have other settings now.

  Args:
    path: of the results.
    table, split: what they are of.
    settings: a row's title to the `digest` of what it trains.
  """
  found = json.loads(path.read_text()) if path.exists() else {}
  before = found.get('settings', {})
  same = {title for title in settings if before.get(title) == settings[title]}
  for title in before:
    if title not in same:
      print(f'{title}: leaves {path}, as it was of {found["pages"][title]}')

  def still(kind):
    values = found.get(kind, {})
    return {t: values.get(t, {}) if t in same else {} for t in settings}

  return {
    'table': table,
    'split': split,
    'pages': rows.TABLES[table],
    'settings': dict(settings),
    'miou': still('miou'),
    'measured': still('measured'),
  }


def digest(specs: Iterable[str]) -> str:
  """A short hash of all settings of some pages that decide a number."""
  hashed = hashlib.sha256()
  for spec in specs:
    flat = config_lib.flatten(config_lib.to_json(config_lib.load(spec)))
    flat = {
      k: v for k, v in flat.items() if k not in config_lib.MAY_CHANGE_ON_RESUME
    }
    hashed.update(json.dumps(flat, sort_keys=True).encode())
  return hashed.hexdigest()[:12]


def provenance() -> str:
  """With what and when a value was measured."""
  libraries = (f'{n} {metadata.version(n)}' for n in ('jax', 'flax', 'optax'))
  machine = f'{device()} ({os.cpu_count()} cores, {platform.machine()})'
  today = datetime.date.today().isoformat()
  return ', '.join([today, f'commit {commit()}', machine, *libraries])


@functools.cache
def device() -> str:
  """What jax runs on; asked elsewhere, as a TPU serves one process only."""
  code = 'import jax; print(jax.devices()[0].device_kind)'
  done = subprocess.run(
    [sys.executable, '-c', code], check=True, capture_output=True, text=True
  )
  return done.stdout.strip()


def commit() -> str | None:
  """The state of the code, None where there is no git."""
  command = ['git', 'describe', '--always', '--dirty']
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
  except (OSError, subprocess.CalledProcessError):
    return None
  return done.stdout.strip()


def write(path: pathlib.Path, results: dict) -> None:
  """Replaces the file of the results whole."""
  text = json.dumps(results, indent=1) + '\n'
  files.write(path, lambda file: file.write_text(text))
