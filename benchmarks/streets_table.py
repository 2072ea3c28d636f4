"""The results tables of the README: streets and CamVid, three seeds.

  python -m benchmarks.streets_table [--setting=streets|camvid] [--seeds=0,1,2]

Every row starts from the same source-trained network of its seed and trains for
the same number of further steps, but the oracle, which trains on the target's
labels for as many steps as both stages together. The stages are longer than the
configs', which are made to end in minutes. CamVid has three rows: source-only,
AdaBN and random patches. Interrupt it at will: finished runs are kept in
--folder and not run again. After every seed the table is printed and
benchmarks/results/<setting>.json is written.
"""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
from importlib import metadata

import numpy as np
from absl import app, flags

from jaxuda import config as config_lib

RESULTS = pathlib.Path(__file__).parent / 'results'

_SETTING = flags.DEFINE_enum('setting', 'streets', ['streets', 'camvid'], '')
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Comma-separated.')
_SPLIT = flags.DEFINE_string('split', 'val', 'tune, to choose settings on.')
_FIRST = flags.DEFINE_integer('first', 1000, 'Steps on the source alone.')
_SECOND = flags.DEFINE_integer('second', 800, 'Further steps of each row.')
_FOLDER = flags.DEFINE_string('folder', 'runs/table', 'Where the runs go.')
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Prepared datasets.')


def rows(setting: str) -> dict[str, tuple[str, list[str]]]:
  """Row name -> (config page, overrides), the controls first."""
  init = config_lib.load(f'configs/adabn.py:{setting}').init
  second = [f'init={init},steps={_FIRST.value}', f'steps={_SECOND.value}']
  found = {
    'source-only': ('source_only', second),
    'AdaBN control': ('adabn', second),
    'ADVENT': ('advent', second),
    'random-patch (ALP-GI)': ('advent_patch', second),
    'oracle': ('oracle', [f'steps={_FIRST.value + _SECOND.value}']),
  }
  if setting == 'camvid':  # no oracle: its training images have no labels
    del found['ADVENT'], found['oracle']
  return found


def run(name: str, page: str, overrides: list[str], seed: str) -> dict:
  """Trains one row with one seed, unless it is done; returns its scores."""
  workdir = pathlib.Path(_FOLDER.value) / f'{_SETTING.value}-{name}-{seed}'
  overrides = [*overrides, f'seed={seed}', f'eval.split={_SPLIT.value}']
  if _DATA_DIR.value:
    overrides.append(f'data_dir={_DATA_DIR.value}')
  command = [
    sys.executable,
    '-m',
    'jaxuda.main',
    f'--config=configs/{page}.py:{_SETTING.value}',
    f'--workdir={workdir}',
    *(f'--config.{override}' for override in overrides),
  ]
  if not (workdir / 'scores.json').exists():
    print(' '.join(command), flush=True)
  subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
  return json.loads((workdir / 'scores.json').read_text())


def main(argv) -> None:
  del argv
  table = {}
  for seed in _SEEDS.value:  # seed by seed, so that a part is a whole table
    for title, (page, overrides) in rows(_SETTING.value).items():
      name = title.split(' (')[0].replace(' ', '_').replace(',', '')
      scores = run(name, page, overrides, seed)
      mean = next(iter(scores['means'].values()))
      table.setdefault(title, {})[seed] = 100 * mean
      print(f'{title}, seed {seed}: {100 * mean:.1f}', flush=True)
    write(table)


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


def write(table: dict[str, dict[str, float]]) -> None:
  """Prints the table and stores it with where and when it was measured."""
  control = np.mean(list(table['AdaBN control'].values()))
  print('| method | seeds | mIoU | over AdaBN |\n|---|---|---|---|')
  for title, values in table.items():
    v = np.array(list(values.values()))
    spread = v.std(ddof=1) if len(v) > 1 else float('nan')
    seeds = ', '.join(f'{x:.1f}' for x in v)
    print(
      f'| {title} | {seeds} | {v.mean():.1f} ± {spread:.1f} '
      f'| {v.mean() - control:+.1f} |'
    )
  result = {
    'setting': _SETTING.value,
    'split': _SPLIT.value,
    'miou': table,
    'steps': {'first': _FIRST.value, 'second': _SECOND.value},
    'commit': commit(),
    'device': device(),
    'cores': os.cpu_count(),
    'machine': platform.machine(),
    'versions': {
      name: metadata.version(name) for name in ('jax', 'flax', 'optax')
    },
    'date': datetime.date.today().isoformat(),
  }
  suffix = '' if _SPLIT.value == 'val' else f'-{_SPLIT.value}'
  path = RESULTS / f'{_SETTING.value}{suffix}.json'
  path.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
  app.run(main)
