"""The whole training step, timed, beside its floor and beside PyTorch.

  python -m benchmarks.train_step [--config=configs/advent.py] [--rounds=3]
    [--torch=eager,channels_last,compile] [--forms=auto,matrix,plain]
    [--output=DIR] [--name=NAME]
    [--config.model.dtype=bfloat16] [--config.KEY=VALUE ...]

Noise in the config's own sizes; needs no data and no TensorFlow. On whatever
device is there, the step of jaxuda and, where torch is installed, the same step
in plain PyTorch (torch_step.py), one after the other and each in a process of
its own. --torch= leaves PyTorch out.
"""

import importlib.util
import json
import subprocess
import sys

import jax
from absl import app, flags

from benchmarks import common, floor
from jaxuda.config import loading as config_lib

_CONFIG = flags.DEFINE_string('config', 'configs/advent.py', 'A config page.')
_ROUNDS = flags.DEFINE_integer('rounds', 3, 'Timed steps of each contestant.')
_TORCH = flags.DEFINE_list(
  'torch',
  ['eager', 'channels_last'],
  'Variants of PyTorch: eager, channels_last, compile.',
)
_FORMS = flags.DEFINE_list(
  'forms',
  ['auto'],
  'Forms of the convolutions: auto, matrix, plain; the first is compared with.',
)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder; benchmarks/results.')
_NAME = flags.DEFINE_string('name', 'train_step', 'Of the file of results.')
_ONLY = flags.DEFINE_string('only', None, 'For the processes that it starts.')
_OVERRIDES = []


def our_step(config, forms: str) -> dict:
  """Times jaxuda's step; {'all_s', 'compile_s', ...}."""
  ours = common.Step(config, forms=forms)
  images = sum(len(stream['image']) for stream in ours.batch.values())
  least = floor.of_step(config, ours.batch)
  result = {
    'all_s': common.times(ours, _ROUNDS.value),
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


def torch_step(config, variant: str) -> dict:
  """Times the same step in PyTorch."""
  import torch

  from benchmarks import torch_step

  on_gpu = torch.cuda.is_available()
  torch.backends.cuda.matmul.allow_tf32 = True
  torch.backends.cudnn.allow_tf32 = True
  torch.backends.cudnn.benchmark = True
  batch = common.random_batch(config)
  step = torch_step.TorchStep(config, variant, 'cuda' if on_gpu else 'cpu')
  loaded = step.load(batch)

  def call():
    return {name: float(value) for name, value in step(loaded).items()}

  result = {
    'all_s': common.times(call, _ROUNDS.value),
    'images': sum(len(stream['image']) for stream in batch.values()),
  }
  if on_gpu:
    peak = torch.cuda.max_memory_allocated() / 2**30
    result['device_peak_gib'] = round(peak, 2)
  return result


def measure_alone(contestant: str) -> dict:
  """Times one contestant in a process of its own, with all of the memory."""
  command = [
    sys.executable,
    '-m',
    'benchmarks.train_step',
    f'--config={_CONFIG.value}',
    f'--rounds={_ROUNDS.value}',
    f'--only={contestant}',
    *(f'--config.{override}' for override in _OVERRIDES),
  ]
  done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
  return json.loads(done.stdout.splitlines()[-1])


def main(argv) -> None:
  del argv
  config = config_lib.load(_CONFIG.value, _OVERRIDES)
  if _ONLY.value:
    kind, _, how = _ONLY.value.partition(' ')
    run = torch_step if kind == 'torch' else our_step
    result = run(config, how) | {'process_peak_gib': common.process_peak_gib()}
    print(json.dumps(result))
    return
  contestants = [f'jaxuda {forms}' for forms in _FORMS.value]
  if importlib.util.find_spec('torch'):
    contestants += [f'torch {variant}' for variant in _TORCH.value]
  rows = {name: measure_alone(name) for name in contestants}
  least = rows[contestants[0]].get('floor')
  base = common.median(rows[contestants[0]]['all_s'])
  for row in rows.values():
    seconds = common.median(row['all_s'])
    row['step_s'] = seconds
    row['images_per_s'] = float(f'{row["images"] / seconds:.4g}')
    row['tflop_per_s'] = float(f'{least["tflop"] / seconds:.3g}')
    row['share_of_floor'] = float(f'{least["seconds"] / seconds:.3g}')
    row['times_first'] = float(f'{seconds / base:.3g}')
  result = {
    'config': _CONFIG.value,
    'overrides': _OVERRIDES,
    'rows': rows,
  }
  print(table(result))
  print(common.write(_NAME.value, result, _OUTPUT.value))


def table(result: dict) -> str:
  """The result as lines to read."""
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
  sys.argv, _OVERRIDES = config_lib.split_overrides(sys.argv)
  app.run(main)
