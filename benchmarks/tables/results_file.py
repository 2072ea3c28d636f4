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
from importlib import metadata

from benchmarks.tables import plan, rows
from benchmarks.tables.rows import Ensemble, Row
from jaxuda import config as config_lib
from jaxuda.utils import files

RESULTS = pathlib.Path(__file__).parents[1] / 'results'


def path_of(folder: str, table: str, split: str = 'val') -> pathlib.Path:
  """Return where the results of a table are kept."""
  suffix = '' if split == 'val' else f'-{split}'
  return pathlib.Path(folder) / f'{table}{suffix}.json'


def kept(path: pathlib.Path, table: str, split: str) -> dict:
  """Return the results there are, without the rows that have other settings.

  Args:
    path: of the results.
    table, split: what they are of.
  """
  found = json.loads(path.read_text()) if path.exists() else {}
  before = found.get('settings', {})
  now = {title: digest(x) for title, x in rows.TABLES[table].items()}
  same = {title for title in now if before.get(title) == now[title]}
  for title in before:
    if title not in same:
      print(f'{title}: leaves {path}, as it was of {found["rows"][title]}')

  def still(kind):
    values = found.get(kind, {})
    return {t: values.get(t, {}) if t in same else {} for t in now}

  note = {'note': found['note']} if 'note' in found else {}
  return {
    'table': table,
    'split': split,
    **note,
    'rows': {t: rows.to_json(x) for t, x in rows.TABLES[table].items()},
    'settings': now,
    'miou': still('miou'),
    'measured': still('measured'),
  }


def digest(x: Row | Ensemble) -> str:
  """Return a short hash of all settings that decide a line's number."""
  settings = [_settings(row) for row in rows.members(x)]
  text = json.dumps(settings, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def _settings(row):
  """Of a row and of those that it goes on from, wherever these are trained."""
  flat = config_lib.flatten(
    config_lib.to_json(plan.load(row.config, row.overrides))
  )
  return {
    'own': {k: v for k, v in flat.items() if not config_lib.may_change(k)},
    'init': row.init and _settings(row.init),
    'labels': row.labels and _settings(row.labels),
  }


def provenance() -> str:
  """Return with what and when a value was measured."""
  libraries = (f'{n} {metadata.version(n)}' for n in ('jax', 'flax', 'optax'))
  machine = f'{device()} ({os.cpu_count()} cores, {platform.machine()})'
  today = datetime.date.today().isoformat()
  return ', '.join([today, f'commit {commit()}', machine, *libraries])


@functools.cache
def device() -> str:
  """Return what jax runs on; a TPU serves one process, so another one asks."""
  code = 'import jax; print(jax.devices()[0].device_kind)'
  done = subprocess.run(
    [sys.executable, '-c', code], check=True, capture_output=True, text=True
  )
  return done.stdout.strip()


@functools.cache
def commit() -> str | None:
  """Return the state of the code, None where there is no git."""
  command = ['git', 'describe', '--always', '--dirty']
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
  except (OSError, subprocess.CalledProcessError):
    return None
  return done.stdout.strip()


def write(path: pathlib.Path, results: dict) -> None:
  """Replace the file of the results, whole."""
  files.write_json(path, results)
