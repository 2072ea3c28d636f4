"""The whole training step, timed, beside its floor and beside PyTorch.

  python -m benchmarks.train_step [--config=configs/advent.py] [--rounds=3]
    [--torch=eager,channels_last,compile] [--forms=auto,matrix,plain]
    [--output=DIR] [--name=NAME]
    [--config.model.dtype=bfloat16] [--config.KEY=VALUE ...]

Noise in the config's own sizes; needs no data and no TensorFlow. On whatever
device is there, the step of jaxuda and, where torch is installed, the same step
in plain PyTorch (torch_step.py) take turns. --torch= leaves PyTorch out.
"""

import importlib.util
import os
import sys
import time

# The two share the memory of one accelerator, so that none may take it all.
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')

import jax
from absl import app, flags

from benchmarks import common, floor
from jaxuda import config as config_lib

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
_OVERRIDES = []


def torch_calls(config, variants, batch) -> dict:
  """{name: call} of the same step in PyTorch, {} where there is no torch."""
  if not variants or not importlib.util.find_spec('torch'):
    return {}
  import torch

  from benchmarks import torch_step

  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  torch.backends.cuda.matmul.allow_tf32 = True
  torch.backends.cudnn.allow_tf32 = True
  torch.backends.cudnn.benchmark = True

  def made(variant):
    net = torch_step.TorchStep(config, variant, device)
    loaded = net.load(batch)

    def call():
      terms = net(loaded)
      return {name: float(value) for name, value in terms.items()}

    return call

  return {f'torch {variant}': made(variant) for variant in variants}


def main(argv) -> None:
  del argv
  config = config_lib.load(_CONFIG.value, _OVERRIDES)
  ours = {
    'jaxuda' if forms == 'auto' else f'jaxuda {forms}': common.Step(
      config, forms=forms
    )
    for forms in _FORMS.value
  }
  first, *_ = ours.values()
  calls = dict(ours)
  calls |= torch_calls(config, _TORCH.value, common.random_batch(config))
  started = time.perf_counter()
  seconds = common.in_turn(calls, _ROUNDS.value)
  least = floor.of_step(config, first.batch)
  images = sum(len(stream['image']) for stream in first.batch.values())
  medians = {name: common.median(values) for name, values in seconds.items()}
  base = next(iter(medians.values()))
  rows = {
    name: {
      'step_s': medians[name],
      'all_s': [float(f'{s:.4g}') for s in values],
      'images_per_s': float(f'{images / medians[name]:.4g}'),
      'tflop_per_s': float(f'{least.operations / medians[name] / 1e12:.3g}'),
      'share_of_floor': float(f'{least.seconds / medians[name]:.3g}'),
      'times_first': float(f'{medians[name] / base:.3g}'),
    }
    for name, values in seconds.items()
  }
  memory = jax.devices()[0].memory_stats() or {}
  result = {
    'config': _CONFIG.value,
    'overrides': _OVERRIDES,
    'rows': rows,
    'compile_s': round(first.compile_s, 1),
    'xla_temporaries_gib': round(first.temporaries_gib(), 2),
    'device_peak_gib': round(memory.get('peak_bytes_in_use', 0) / 2**30, 2),
    'process_peak_gib': common.process_peak_gib(),
    'floor': {
      'tflop': round(least.operations / 1e12, 3),
      'gbyte': round(least.bytes / 1e9, 2),
      'tflop_per_s': round(least.operations_s / 1e12, 3),
      'gbyte_per_s': least.bytes_s and least.bytes_s / 1e9,
      'seconds': float(f'{least.seconds:.3g}'),
    },
    'finite': bool(first()['skipped'] == 0),
    'total_s': round(time.perf_counter() - started, 1),
  }
  print(table(result))
  print(common.write(_NAME.value, result, _OUTPUT.value))


def table(result: dict) -> str:
  """The result as lines to read."""
  least = result['floor']
  lines = [
    f'{result["config"]} {" ".join(result["overrides"])}'.rstrip(),
    f'floor {least["seconds"]} s: {least["tflop"]} TFLOP at '
    f'{least["tflop_per_s"]} TFLOP/s, {least["gbyte"]} GB moved',
    f'compiled in {result["compile_s"]} s, temporaries '
    f'{result["xla_temporaries_gib"]} GiB',
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
