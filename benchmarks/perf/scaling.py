"""Strong and weak scaling of the step over the devices that are there.

  python -m benchmarks.perf.scaling [--config=configs/advent.py] [--batch=8]
    [--each=1] [--rounds=3] [--output=DIR] [--config.KEY=VALUE ...]

Strong: --batch images a domain, shared by 1, 2, 4, ... devices. Weak: --each
images a domain on every device. Where there is one CPU,
XLA_FLAGS=--xla_force_host_platform_device_count=8 NPROC=32 makes eight of it,
which share its cores, so that only the overhead shows.
"""

import sys

import jax

from benchmarks.perf import common
from jaxuda.utils import cli


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.integer('batch', 8, 'Strong scaling: images a domain.')
  command.integer('each', 1, 'Weak scaling: images on a device.')
  command.integer('rounds', 3, 'Timed steps.', lower_bound=1)
  common.define_output(command)
  return command


def measure(config, devices: int, batch: int, rounds: int) -> dict:
  """Return seconds a step, and images a second of both domains together.

  Args:
    config: an experiment's.
    devices: how many share a batch.
    batch: images a domain.
    rounds: timed steps.
  """
  sizes = {f'{s}.batch_size': batch for s in ('source', 'target')}
  mesh = common.mesh_of(jax.devices()[:devices])
  step = common.Step(common.changed(config, sizes), mesh)
  [seconds] = common.in_turn({'step': step}, rounds).values()
  images = sum(len(stream['image']) for stream in step.batch.values())
  return {
    'devices': devices,
    'batch': batch,
    'step_s': common.median(seconds),
    'images_per_s': float(f'{images / common.median(seconds):.4g}'),
  }


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  asked = common.parse(command, argv, __doc__)
  if asked is None:
    return 0
  given, config = command.values, asked.config
  counts = [n for n in (2**i for i in range(16)) if n <= jax.device_count()]
  rows = {'strong': [], 'weak': []}
  for count in counts:
    if given.batch % count == 0:
      rows['strong'].append(measure(config, count, given.batch, given.rounds))
    batch = given.each * count
    rows['weak'].append(measure(config, count, batch, given.rounds))
  for kind, found in rows.items():
    for row in found:
      gain = row['images_per_s'] / found[0]['images_per_s']
      row['efficiency'] = float(f'{gain / row["devices"]:.3g}')
      print(kind, row)
  print(common.write('scaling', asked.record | rows, given.output))
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
