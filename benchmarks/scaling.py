"""Strong and weak scaling of the step over the devices that are there.

  python -m benchmarks.scaling [--config=configs/advent.py] [--batch=8]
    [--each=1] [--rounds=3] [--output=DIR] [--config.KEY=VALUE ...]

Strong: --batch images a domain, shared by 1, 2, 4, ... devices. Weak: --each
images a domain on every device. Where there is one CPU,
XLA_FLAGS=--xla_force_host_platform_device_count=8 NPROC=32 makes eight of it,
which share its cores, so that only the overhead shows.
"""

import sys

import jax
from absl import app, flags

from benchmarks import common
from jaxuda.config import loading as config_lib

_CONFIG = flags.DEFINE_string('config', 'configs/advent.py', 'A config page.')
_BATCH = flags.DEFINE_integer('batch', 8, 'Strong scaling: images a domain.')
_EACH = flags.DEFINE_integer('each', 1, 'Weak scaling: images on a device.')
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'Timed steps.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder; benchmarks/results.')
_OVERRIDES = []


def measure(devices: int, batch: int) -> dict:
  """Seconds a step and images a second of both domains together."""
  sizes = [f'{s}.batch_size={batch}' for s in ('source', 'target')]
  config = config_lib.load(_CONFIG.value, [*_OVERRIDES, *sizes])
  step = common.Step(config, common.mesh_of(jax.devices()[:devices]))
  [seconds] = common.in_turn({'step': step}, _ROUNDS.value).values()
  images = sum(len(stream['image']) for stream in step.batch.values())
  return {
    'devices': devices,
    'batch': batch,
    'step_s': common.median(seconds),
    'images_per_s': float(f'{images / common.median(seconds):.4g}'),
  }


def main(argv) -> None:
  del argv
  counts = [n for n in (2**i for i in range(16)) if n <= jax.device_count()]
  rows = {'strong': [], 'weak': []}
  for count in counts:
    if _BATCH.value % count == 0:
      rows['strong'].append(measure(count, _BATCH.value))
    rows['weak'].append(measure(count, _EACH.value * count))
  for kind, found in rows.items():
    for row in found:
      gain = row['images_per_s'] / found[0]['images_per_s']
      row['efficiency'] = float(f'{gain / row["devices"]:.3g}')
      print(kind, row)
  result = {'config': _CONFIG.value, 'overrides': _OVERRIDES} | rows
  print(common.write('scaling', result, _OUTPUT.value))


if __name__ == '__main__':
  sys.argv, _OVERRIDES = config_lib.split_overrides(sys.argv)
  app.run(main)
