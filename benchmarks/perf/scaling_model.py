"""Reckon a step on 8, 64 and 1,024 devices, from its compiled program.

  python -m benchmarks.perf.scaling_model [--experiments='ADVENT;DACS']
    [--devices=8] [--more='KEY=VALUE;KEY=VALUE'] [--results=FOLDER]

Compiles each step for --devices virtual devices of this CPU, an image of each
domain on each, counts what they tell each other (collectives.py) and what each
one computes (floor.py), and reckons seconds from the rates below: half of the
dense rate in bfloat16, nothing hidden behind computing. Nothing of it is
measured. Writes <results>/scaling_model.json.
"""

import json
import math
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from benchmarks.perf import collectives, common, floor
from benchmarks.tables import results_file
from jaxuda import config as config_lib
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError

SIZES = (8, 64, 1024)
IMAGES = (1, 4)  # of a domain on a device
# It puts sums together that would not have waited for one another.
_COMBINER = '--xla_disable_hlo_passes=cpu-all-reduce-combiner'


class Experiment(NamedTuple):
  """What is reckoned.

  Attributes:
    config: a file of configs/, with its argument.
    overrides: KEY=VALUE of its keys.
  """

  config: str
  overrides: tuple[str, ...] = ()


EXPERIMENTS = {
  'ADVENT': Experiment('advent.py'),
  'ADVENT, bn_mode=running': Experiment('advent.py', ('bn_mode=running',)),
  'DACS': Experiment('dacs.py'),
  'MIC': Experiment('mic.py'),
}


class Machine(NamedTuple):
  """How devices hang together: groups, within which they tell each other most.

  Attributes:
    rate: of floor.RATES, whose half is reckoned with.
    group: devices of a group: a host, or a slice.
    bandwidth: bytes a second from a device to others of its group.
    between: the same to devices of other groups.
    latency: seconds of a small all-reduce within a group of 8.
    doubled: seconds that it takes longer with each doubling of the devices.
  """

  rate: str
  group: int
  bandwidth: float
  between: float
  latency: float
  doubled: float


# Bandwidths by the makers' data sheets: NVLink's 450 GB/s each way and 400 Gb/s
# of network a device; 1,600 Gb/s of a chip's links both ways, slices of at
# most 256 chips, 200 Gb/s of network for a host of 8. Latencies are assumed.
MACHINES = {
  'H100': Machine('NVIDIA H100 80GB HBM3', 8, 450e9, 50e9, 10e-6, 10e-6),
  'TPU v5e': Machine('TPU v5 lite', 256, 100e9, 3.1e9, 5e-6, 5e-6),
}


class Cost(NamedTuple):
  """Of one step.

  Attributes:
    computing: seconds.
    moving: seconds, of the bytes of all collectives.
    waiting: seconds, of the latencies of those that wait for one another.
  """

  computing: float
  moving: float
  waiting: float

  @property
  def efficiency(self) -> float:
    """The share of a step that is computing, where nothing is hidden."""
    return self.computing / sum(self)


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('experiments', '', 'Titles, between semicolons; default: all.')
  command.integer('devices', 8, 'For which it is compiled.', lower_bound=2)
  command.text('more', '', 'KEY=VALUE of all configs, for smaller ones.')
  command.text('results', str(results_file.RESULTS), 'Of the JSON file.')
  return command


def read(config, devices: int) -> dict[str, Any]:
  """Compile a step and return what it computes and tells.

  Args:
    config: an experiment's, whose batches all devices share.
    devices: how many.
  """
  mesh = common.mesh_of(jax.devices()[:devices])
  # Accelerators take convolutions as they come.
  step = common.Step(config, mesh, shapes_only=True, forms='plain')
  program = collectives.Program(step.compiled.as_text())
  operations, _ = floor.of_networks(config, common.random_batch(config))
  return {
    'tflop_of_a_device': float(f'{operations / devices / 1e12:.4g}'),
    'collectives': {
      kind: total._asdict() for kind, total in program.totals().items()
    },
    'depth': program.depth(),
  }


def cost(
  found: Mapping[str, Any], machine: Machine, devices: int, images: int = 1
) -> Cost:
  """Return what a step costs on so many devices, each with the same share.

  An all-reduce goes through the group of a device, then between groups with its
  share, and back: 2 (n - 1) / n of its bytes on each way.

  Args:
    found: what `read` returns.
    machine: how they hang together.
    devices: how many.
    images: of each domain on a device.
  """
  computing = images * found['tflop_of_a_device'] * 1e12
  computing /= floor.RATES[machine.rate][0] / 2
  told = sum(total['bytes'] for total in found['collectives'].values())
  inside = min(devices, machine.group)
  groups = devices // inside
  moving = _around(inside) * told / machine.bandwidth
  moving += _around(groups) * told / inside / machine.between
  latency = machine.latency + machine.doubled * math.log2(devices / 8)
  return Cost(computing, moving, found['depth'] * latency)


def _around(n):
  return 2 * (n - 1) / n


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  given = command.values
  titles, more = map(common.parts, (given.experiments, given.more))
  if unknown := [title for title in titles if title not in EXPERIMENTS]:
    raise UserError(
      f'--experiments: {unknown[0]!r} is none of {"; ".join(EXPERIMENTS)}.'
    )
  flags = os.environ.get('XLA_FLAGS', '')
  os.environ['XLA_FLAGS'] = f'{flags} {_COMBINER}'.strip()
  # What is told is settled before; half of the time is saved.
  jax.config.update('jax_disable_most_optimizations', True)
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', given.devices)
  path = pathlib.Path(given.results) / 'scaling_model.json'
  stored = json.loads(path.read_text()) if path.exists() else {'rows': {}}
  for title in titles or EXPERIMENTS:
    found = reckon(EXPERIMENTS[title], given.devices, more)
    stored['rows'][title] = found
    print(title, found, flush=True)
    results_file.write(path, stored | common.where())
  print(markdown(stored['rows']))
  return 0


def reckon(
  experiment: Experiment, devices: int, more: Sequence[str] = ()
) -> dict[str, Any]:
  """Return what `read` finds in the step of an experiment.

  Args:
    experiment: which.
    devices: for which it is compiled.
    more: KEY=VALUE that make it smaller.
  """
  sizes = [f'{s}.batch_size={devices}' for s in ('source', 'target')]
  spec = f'configs/{experiment.config}'
  overrides = (*experiment.overrides, *more, *sizes)
  return read(config_lib.load(spec, overrides), devices)


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
  """Return the table of docs/scaling.md, from the file of results."""
  telling = ' | '.join(f'{n:,} tell, ms' for n in SIZES)
  efficiency = ' | '.join(f'images: {n}, %' for n in IMAGES)
  lines = [
    '| experiment | sums | in a row | MB | machine | computing, ms | '
    f'{telling} | {efficiency} |',
    '|---|---|---|---|---|---|' + '---|' * (len(SIZES) + len(IMAGES)),
  ]
  for title, found in rows.items():
    totals = found['collectives'].values()
    count = sum(total['count'] for total in totals)
    size = sum(total['bytes'] for total in totals) / 1e6
    first = f'{title} | {count:,} | {found["depth"]:,} | {size:,.0f}'
    for name, machine in MACHINES.items():
      lines.append(f'| {first} | {name} | {_cells(found, machine)} |')
      first = ' | | | '
  return '\n'.join(lines)


def _cells(found, machine):
  alone = [cost(found, machine, devices) for devices in SIZES]
  cells = [f'{1000 * alone[0].computing:.1f}']
  cells += [f'{1000 * c.moving:.1f} + {1000 * c.waiting:.1f}' for c in alone]
  for images in IMAGES:
    shares = (
      cost(found, machine, devices, images).efficiency for devices in SIZES
    )
    cells.append(', '.join(f'{100 * share:.0f}' for share in shares))
  return ' | '.join(cells)


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
