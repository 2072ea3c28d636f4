"""The whole training step, timed, beside its floor and beside PyTorch.

  python -m benchmarks.perf.train_step [--config=configs/advent.py] [--rounds=3]
    [--torch=eager,channels_last,compile] [--forms=auto,matrix,plain]
    [--output=DIR] [--name=NAME]
    [--config.model.dtype=bfloat16] [--config.KEY=VALUE ...]

Noise in the config's own sizes; needs no data and no TensorFlow. On whatever
device is there, the step of jaxuda and, where torch is installed, the same step
in plain PyTorch (torch_step.py; torch_dacs.py for DACS), one after the other
and each in a process of its own. --torch= leaves PyTorch out.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence

import jax

from benchmarks.perf import common, floor
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.integer('rounds', 3, 'Timed steps of each contestant.', lower_bound=1)
  command.list(
    'torch',
    ['eager', 'channels_last'],
    'Variants of PyTorch: eager, channels_last, compile.',
  )
  command.list(
    'forms',
    ['auto'],
    'Forms of the convolutions: auto, matrix, plain; the first is compared '
    'with.',
  )
  common.define_output(command)
  command.text('name', 'train_step', 'Of the file of results.')
  command.text('only', None, 'For the processes that it starts.')
  return command


def our_step(config, forms: str, rounds: int) -> dict:
  """Time jaxuda's step; return {'all_s', 'compile_s', ...}."""
  ours = common.Step(config, forms=forms)
  images = sum(len(stream['image']) for stream in ours.batch.values())
  least = floor.of_step(config, ours.batch)
  result = {
    'all_s': common.times(ours, rounds),
    'pipelined_s': float(f'{ours.pipelined(rounds):.4g}'),
    'images': images,
    'compile_s': round(ours.compile_s, 1),
    'xla_temporaries_gib': round(ours.temporaries_gib(), 2),
    'finite': bool(ours()['skipped'] == 0),
    'floor': {
      'tflop': round(least.operations / 1e12, 3),
      'gbyte': round(least.bytes / 1e9, 2),
      'tflop_per_s': round(least.operations_s / 1e12, 3),
      'gbyte_per_s': least.bytes_s and least.bytes_s / 1e9,
      'seconds': float(f'{least.seconds:.3g}'),
    },
  }
  memory = jax.devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in memory:
    peak = memory['peak_bytes_in_use'] / 2**30
    result['device_peak_gib'] = round(peak, 2)
  return result


def torch_step(config, variant: str, rounds: int) -> dict:
  """Time the same step in PyTorch; return the same of it."""
  import torch

  from benchmarks.perf import torch_dacs, torch_step

  on_gpu = torch.cuda.is_available()
  torch.backends.cuda.matmul.allow_tf32 = True
  torch.backends.cudnn.allow_tf32 = True
  torch.backends.cudnn.benchmark = True
  batch = common.random_batch(config)
  steps = torch_dacs if config.method == 'dacs' else torch_step
  step = steps.TorchStep(config, variant, 'cuda' if on_gpu else 'cpu')
  loaded = step.load(batch)

  def call():
    return {name: float(value) for name, value in step(loaded).items()}

  result = {
    'all_s': common.times(call, rounds),
    'images': sum(len(stream['image']) for stream in batch.values()),
  }
  if on_gpu:
    peak = torch.cuda.max_memory_allocated() / 2**30
    result['device_peak_gib'] = round(peak, 2)
  return result


def measure_alone(contestant: str, arguments: Sequence[str]) -> dict:
  """Time one contestant in a process of its own, with all of the memory.

  Args:
    contestant: 'jaxuda FORM' or 'torch VARIANT'.
    arguments: of this command.

  Raises:
    UserError: the process failed.
  """
  command = [sys.executable, '-m', 'benchmarks.perf.train_step', *arguments]
  done = subprocess.run(
    [*command, f'--only={contestant}'], stdout=subprocess.PIPE, text=True
  )
  if done.returncode:
    raise UserError(
      f'{contestant} ended with status {done.returncode}: see above.'
    )
  return json.loads(done.stdout.splitlines()[-1])


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  asked = common.parse(command, argv, __doc__)
  if asked is None:
    return 0
  given = command.values
  if given.only:
    kind, _, how = given.only.partition(' ')
    run = torch_step if kind == 'torch' else our_step
    result = run(asked.config, how, given.rounds)
    print(json.dumps(result | {'process_peak_gib': common.process_peak_gib()}))
    return 0
  contestants = [f'jaxuda {forms}' for forms in given.forms]
  if importlib.util.find_spec('torch'):
    contestants += [f'torch {variant}' for variant in given.torch]
  rows = {name: measure_alone(name, argv[1:]) for name in contestants}
  least = rows[contestants[0]].get('floor')
  base = common.median(rows[contestants[0]]['all_s'])
  for row in rows.values():
    seconds = common.median(row['all_s'])
    row['step_s'] = seconds
    row['images_per_s'] = float(f'{row["images"] / seconds:.4g}')
    row['tflop_per_s'] = float(f'{least["tflop"] / seconds:.3g}')
    row['share_of_floor'] = float(f'{least["seconds"] / seconds:.3g}')
    row['times_first'] = float(f'{seconds / base:.3g}')
  result = asked.record | {'rows': rows}
  print(table(result))
  print(common.write(given.name, result, given.output))
  return 0


def table(result: dict) -> str:
  """Return the result as lines to read."""
  first = next(iter(result['rows'].values()))
  least = first['floor']
  lines = [
    f'{result["config"]} {" ".join(result["overrides"])}'.rstrip(),
    f'floor {least["seconds"]} s: {least["tflop"]} TFLOP at '
    f'{least["tflop_per_s"]} TFLOP/s, {least["gbyte"]} GB moved',
    f'compiled in {first["compile_s"]} s, temporaries '
    f'{first["xla_temporaries_gib"]} GiB',
    f'{"":22}{"s a step":>10}{"images/s":>10}{"of floor":>10}{"times":>8}',
  ]
  for name, row in result['rows'].items():
    lines.append(
      f'{name:22}{row["step_s"]:>10}{row["images_per_s"]:>10}'
      f'{row["share_of_floor"]:>10.0%}{row["times_first"]:>8}'
    )
  return '\n'.join(lines)


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
