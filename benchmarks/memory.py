"""What a step needs in memory, by batch, precision and recomputation.

  python -m benchmarks.memory [--config=configs/advent.py] [--batches=1,2,4]
    [--dtypes=float32,bfloat16] [--remat=False,True] [--run]
    [--topology=v5e:2x2] [--output=DIR] [--name=NAME] [--config.KEY=VALUE ...]

Compiles each step for the device that is there and prints XLA's own account:
temporaries, and with state and batch besides; and the operations of its
convolutions, those that are computed again with them. With --run also times a
step of those that fit; a step that does not is told and left out. With
--topology it compiles for one chip of a TPU that need not be there (`pip install
libtpu`).
"""

import itertools
import sys
import time

import jax
from absl import app, flags
from jax.experimental import topologies

from benchmarks import common, floor
from jaxuda.config import loading as config_lib

_CONFIG = flags.DEFINE_string('config', 'configs/advent.py', 'A config page.')
_BATCHES = flags.DEFINE_list('batches', ['1', '2', '4'], 'Images a domain.')
_DTYPES = flags.DEFINE_list('dtypes', ['float32', 'bfloat16'], 'Precisions.')
_REMAT = flags.DEFINE_list('remat', ['False', 'True'], 'Recomputation.')
_RUN = flags.DEFINE_bool('run', False, 'Also run and time the steps.')
_TOPOLOGY = flags.DEFINE_string('topology', None, 'A TPU: v5e:2x2, v4:2x2x1.')
_NAME = flags.DEFINE_string('name', 'memory', 'Of the file of results.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder; benchmarks/results.')
_OVERRIDES = []


def measure(batch: str, dtype: str, remat: str, chip=None) -> dict:
  """One line of the table: GiB, and seconds if it is run.

  Args:
    batch, dtype, remat: settings.
    chip: of a TPU to compile for, which is not there.
  """
  config = config_lib.load(
    _CONFIG.value,
    [
      *_OVERRIDES,
      f'source.batch_size={batch}',
      f'target.batch_size={batch}',
      f'model.dtype={dtype}',
      f'model.remat={remat}',
    ],
  )
  row = {'batch': int(batch), 'dtype': dtype, 'remat': remat == 'True'}
  operations, _ = floor.of_convolutions(config, common.random_batch(config))
  row['tflop'] = float(f'{operations / 1e12:.4g}')
  try:
    if chip is None:
      step = common.Step(config, shapes_only=not _RUN.value)
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
    if _RUN.value:
      step()
      start = time.perf_counter()
      step()
      row['step_s'] = float(f'{time.perf_counter() - start:.4g}')
  except jax.errors.JaxRuntimeError as e:
    if 'RESOURCE_EXHAUSTED' not in str(e):
      raise
    row['does_not_fit'] = True
  return row


def main(argv) -> None:
  del argv
  if _TOPOLOGY.value and _RUN.value:
    sys.exit('error: --run needs the device itself, --topology none.')
  chip, rows = None, []
  if _TOPOLOGY.value:
    topology = topologies.get_topology_desc(_TOPOLOGY.value, 'tpu')
    chip = topology.devices[0]
  choices = (_BATCHES.value, _DTYPES.value, _REMAT.value)
  result = {'config': _CONFIG.value, 'overrides': _OVERRIDES, 'rows': rows}
  if chip is not None:
    result |= {'device': chip.device_kind, 'compiled_only': True}
  for batch, dtype, remat in itertools.product(*choices):
    rows.append(measure(batch, dtype, remat, chip))
    # A row can take a quarter of an hour: each is stored when it is there.
    path = common.write(_NAME.value, result, _OUTPUT.value)
    print(rows[-1], flush=True)
  print(path)


if __name__ == '__main__':
  sys.argv, _OVERRIDES = config_lib.split_overrides(sys.argv)
  app.run(main)
