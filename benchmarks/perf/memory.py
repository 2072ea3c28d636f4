"""What a step needs in memory, by batch, precision and recomputation.

  python -m benchmarks.perf.memory [--config=configs/advent.py] [--batches=1,2]
    [--dtypes=float32,bfloat16] [--remat=False,True] [--run]
    [--topology=v5e:2x2] [--output=DIR] [--name=NAME] [--config.KEY=VALUE ...]

Compiles each step for the device that is there and prints XLA's own account:
temporaries alone, and with state and batch; and the operations of its
convolutions, including those that are computed again. With --run also times a
step of those that fit; a step that does not is marked and left out. With
--topology it compiles for one chip of a TPU that need not be there (`pip
install libtpu`).
"""

import itertools
import sys
import time

import jax
from jax.experimental import topologies

from benchmarks.perf import common, floor
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.list('batches', ['1', '2', '4'], 'Images a domain.')
  command.list('dtypes', ['float32', 'bfloat16'], 'Precisions.')
  command.list('remat', ['False', 'True'], 'Recomputation.')
  command.boolean('run', False, 'Also run and time the steps.')
  command.text('topology', None, 'A TPU: v5e:2x2, v4:2x2x1.')
  command.text('name', 'memory', 'Of the file of results.')
  common.define_output(command)
  return command


def measure(config, run: bool, chip=None) -> dict:
  """Return one line of the table: GiB, and seconds if it is run.

  Args:
    config: an experiment's.
    run: whether the step is run and timed.
    chip: of a TPU to compile for, which is not there.
  """
  model = config.model
  row = {
    'batch': config.source.batch_size,
    'dtype': model.dtype,
    'remat': model.remat,
  }
  operations, _ = floor.of_networks(config, common.random_batch(config))
  row['tflop'] = float(f'{operations / 1e12:.4g}')
  try:
    if chip is None:
      step = common.Step(config, shapes_only=not run)
    else:
      mesh = common.mesh_of([chip])
      step = common.Step(config, mesh, shapes_only=True, forms='plain')
    account = step.compiled.memory_analysis()
    arguments = account.argument_size_in_bytes
    row['temporaries_gib'] = round(account.temp_size_in_bytes / 2**30, 2)
    row['in_all_gib'] = round(
      (account.temp_size_in_bytes + arguments) / 2**30, 2
    )
    row['compile_s'] = round(step.compile_s, 1)
    if run:
      step()
      start = time.perf_counter()
      step()
      row['step_s'] = float(f'{time.perf_counter() - start:.4g}')
  except jax.errors.JaxRuntimeError as e:
    if 'RESOURCE_EXHAUSTED' not in str(e):
      raise
    row['does_not_fit'] = True
  return row


def choices(given) -> list[dict]:
  """Return the settings of each line, by their keys.

  Args:
    given: the flags' values.

  Raises:
    UserError: a batch that is no number, or --remat is neither False nor True.
  """
  remat = {'False': False, 'True': True}
  if not set(given.remat) <= set(remat):
    raise UserError(f'--remat={",".join(given.remat)} takes False and True.')
  batches = common.whole_numbers('batches', given.batches)
  return [
    {
      'source.batch_size': batch,
      'target.batch_size': batch,
      'model.dtype': dtype,
      'model.remat': remat[text],
    }
    for batch, dtype, text in itertools.product(
      batches, given.dtypes, given.remat
    )
  ]


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  asked = common.parse(command, argv, __doc__)
  if asked is None:
    return 0
  given, chip, rows = command.values, None, []
  if given.topology and given.run:
    raise UserError('--run needs the device itself, --topology none.')
  to_do = choices(given)
  result = asked.record | {'rows': rows}
  if given.topology:
    topology = topologies.get_topology_desc(given.topology, 'tpu')
    chip = topology.devices[0]
    result |= {'device': chip.device_kind, 'compiled_only': True}
  for choice in to_do:
    rows.append(measure(common.changed(asked.config, choice), given.run, chip))
    # A row can take a quarter of an hour: each is stored when it is there.
    path = common.write(given.name, result, given.output)
    print(rows[-1], flush=True)
  print(path)
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
