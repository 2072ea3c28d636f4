"""Time and memory of one full-size step on whatever device is there.

  python -m benchmarks.full_size_step [--config=configs/advent_patch.py]
    [--steps=2] [--config.KEY=VALUE ...]

Random images at the config's own sizes; needs no data and no TensorFlow.
"""

import datetime
import functools
import json
import os
import pathlib
import resource
import sys
import time

import jax
import numpy as np
from absl import app, flags

from jaxuda import config as config_lib
from jaxuda import labels, methods, runs, state, step

_CONFIG = flags.DEFINE_string('config', 'configs/advent_patch.py', '')
_STEPS = flags.DEFINE_integer('steps', 2, 'Timed steps, after the first.')
_OUTPUT = flags.DEFINE_string(
  'output', 'benchmarks/results/full_size_step.json', 'Where results go.'
)
_OVERRIDES = []


def random_batch(config, streams) -> dict:
  """Noise in the shapes that the config names."""
  rng = np.random.default_rng(0)
  classes = len(labels.space(config.classes).classes)
  batch = {}
  for name in streams:
    shape = (config[name].batch_size, *config[name].size)
    batch[name] = {'image': rng.integers(0, 256, (*shape, 3), np.uint8)}
  source = batch['source']['image'].shape[:3]
  batch['source']['label'] = rng.integers(0, classes, source, np.uint8)
  return batch


def main(argv) -> None:
  del argv
  config = config_lib.load(_CONFIG.value, _OVERRIDES)
  method = methods.load(config.method)
  nets, txs = runs.build(config)
  init = functools.partial(state.init, nets=nets, txs=txs)
  current = jax.jit(init)(jax.random.key(config.seed))
  batch = jax.device_put(random_batch(config, method.STREAMS))
  one_step = functools.partial(
    step.train_step, nets=nets, txs=txs, method=method, config=config
  )
  start = time.perf_counter()
  compiled = jax.jit(one_step, donate_argnums=0).lower(current, batch).compile()
  compile_s = time.perf_counter() - start
  seconds = []
  for _ in range(1 + _STEPS.value):
    start = time.perf_counter()
    current, measured = compiled(current, batch)
    measured = jax.device_get(measured)
    seconds.append(time.perf_counter() - start)
  memory = compiled.memory_analysis()
  result = {
    'config': _CONFIG.value,
    'overrides': _OVERRIDES,
    'device': jax.devices()[0].device_kind,
    'cores': os.cpu_count(),
    'compile_s': round(compile_s, 1),
    'step_s': [round(s, 2) for s in seconds[1:]],
    'xla_temporaries_gib': round(memory.temp_size_in_bytes / 2**30, 2),
    'process_peak_gib': round(
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2
    ),
    'finite': bool(measured['skipped'] == 0),
    'jax': jax.__version__,
    'date': datetime.date.today().isoformat(),
  }
  print(json.dumps(result, indent=1))
  pathlib.Path(_OUTPUT.value).write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
  sys.argv, _OVERRIDES = config_lib.split_overrides(sys.argv)
  app.run(main)
