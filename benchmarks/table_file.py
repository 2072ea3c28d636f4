"""The file of a table's results: what is kept of it, and where it is from."""

import datetime
import functools
import json
import os
import pathlib
import platform
import subprocess
import sys
from importlib import metadata

from benchmarks import rows
from jaxuda import layout


def kept(path: pathlib.Path, table: str, split: str) -> dict:
  """The results there are, without the rows that have other pages now."""
  pages = json.loads(json.dumps(rows.TABLES[table]))
  found = json.loads(path.read_text()) if path.exists() else {}
  before = found.get('pages', {})
  for title in before:
    if before[title] != pages.get(title):
      print(f'{title}: leaves {path}, as it was of {before[title]}')

  def still(kind):
    values = found.get(kind, {})
    return {
      title: values.get(title, {}) if before.get(title) == page else {}
      for title, page in pages.items()
    }

  return {
    'table': table,
    'split': split,
    'pages': pages,
    'miou': still('miou'),
    'measured': still('measured'),
  }


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
  layout.write(path, lambda file: file.write_text(text))
