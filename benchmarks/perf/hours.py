"""Estimate what each config costs at full size, on a few devices.

  python -m benchmarks.perf.hours [--configs=advent,fada] [--results=FOLDER]

Counts the operations of a step's networks (floor.py) and reckons hours from
them: on one V100 at the rate that ACCV 2020 reports, 150,000 steps in about 25
hours; on other devices at half of their dense rate, in bfloat16 where it is an
accelerator; of a config alone, as its docstring has them, and with the stages
before it. Nothing is trained, and nothing of it is measured. Writes
<results>/hours.json.
"""

import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.perf import common, floor
from benchmarks.tables import results_file
from jaxuda import config as config_lib
from jaxuda.utils import cli

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
ACCV_2020 = ('advent_patch', 150_000, 25.0)  # config, steps, hours
LAPTOP = 1e12  # float32 operations a second of a large product, eight cores
# What is paid for, and how many operations a second are half of its rate.
DEVICES = {
  'H100': floor.RATES['NVIDIA H100 80GB HBM3'][0] / 2,
  'TPU v5e': floor.RATES['TPU v5 lite'][0] / 2,
  'laptop': LAPTOP / 2,
}


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.list('configs', None, 'Names of configs; default: all.')
  command.text('results', str(results_file.RESULTS), 'Of the JSON file.')
  return command


def load(name: str):
  """Return the config of that name, of GTA5 -> Cityscapes."""
  return config_lib.load(str(CONFIGS / f'{name}.py'))


def operations(config) -> float:
  """Return the multiplications and additions of one step."""
  return floor.of_networks(config, common.random_batch(config))[0]


def in_all(config, known: dict[str, float]) -> float:
  """Return the operations of a training, and of the stages before it.

  Args:
    config: an experiment's.
    known: those of a step, by the experiment's digest; it grows.
  """
  key = config_lib.digest(config)
  if key not in known:
    known[key] = operations(config)
  stages = config_lib.stages(config).values()
  return known[key] * config.steps + sum(
    in_all(stage, known) for stage in stages
  )


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  given = command.values
  reference, steps, hours = ACCV_2020
  files = sorted(path.stem for path in CONFIGS.glob('[a-z]*.py'))
  v100 = operations(load(reference)) * steps / hours / 3600  # a second
  rates = {'V100': v100, **DEVICES}
  path = pathlib.Path(given.results) / 'hours.json'
  stored = json.loads(path.read_text()) if path.exists() else {'configs': {}}
  known: dict[str, float] = {}
  for name in given.configs or [n for n in files if n != 'common']:
    config = load(name)
    total = in_all(config, known)
    stored['configs'][name] = {
      'steps': config.steps,
      'operations_a_step': known[config_lib.digest(config)],
      'hours_alone': known[config_lib.digest(config)]
      * config.steps
      / v100
      / 3600,
      'hours_with_stages': {
        device: total / rate / 3600 for device, rate in rates.items()
      },
    }
    print(_line(name, stored['configs'][name]), flush=True)
  stored['configs'] = {
    name: stored['configs'][name]
    for name in sorted(stored['configs'])
    if name in files
  }
  results_file.write(path, stored)
  return 0


def markdown(configs: Mapping[str, Mapping[str, Any]]) -> str:
  """Return the table of docs/performance.md, from the file of results."""
  devices = ('V100', *DEVICES)
  heads = ' | '.join(f'{device}, hours' for device in devices)
  return '\n'.join([
    f'| config | steps | TFLOP a step | alone, V100, hours | {heads} |',
    '|---|---|---|---|' + '---|' * len(devices),
    *(_line(name, each) for name, each in configs.items()),
  ])  # fmt: skip


def _line(name, each):
  hours = (each['hours_alone'], *each['hours_with_stages'].values())
  cells = ' | '.join(f'{h:,.0f}' if h >= 10 else f'{h:.1f}' for h in hours)
  operations_ = each['operations_a_step'] / 1e12
  return f'| `{name}.py` | {each["steps"]:,} | {operations_:.2f} | {cells} |'


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
