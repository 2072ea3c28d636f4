"""Estimate how long each config trains at full size.

  python -m benchmarks.perf.hours [--configs=advent,fada]

Prints steps, the operations of a step's networks (floor.py), and hours: on
one V100 at the rate that ACCV 2020 reports, 150,000 steps in about 25 hours;
and on one H200 at half of its dense rate in bfloat16. Nothing is trained. The
docs of the configs state the first of the two.
"""

import pathlib
import sys

from benchmarks.perf import common, floor
from jaxuda import config as config_lib
from jaxuda.utils import cli

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
ACCV_2020 = ('advent_patch', 150_000, 25.0)  # config, steps, hours


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.list('configs', None, 'Names of configs; default: all.')
  return command


def load(name: str):
  """Return the config of that name, of GTA5 -> Cityscapes."""
  return config_lib.load(str(CONFIGS / f'{name}.py'))


def operations(config) -> float:
  """Return the multiplications and additions of one step."""
  return floor.of_networks(config, common.random_batch(config))[0]


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  reference, steps, hours = ACCV_2020
  files = sorted(path.stem for path in CONFIGS.glob('[a-z]*.py'))
  asked = command.values.configs or [n for n in files if n != 'common']
  configs = {name: load(name) for name in asked}
  v100 = operations(load(reference)) * steps / hours  # an hour
  h200 = floor.RATES['NVIDIA H200'][0] / 2 * 3600
  print('| config | steps | TFLOP a step | V100, hours | H200, hours |')
  print('|---|---|---|---|---|')
  for name, config in configs.items():
    once = operations(config)
    in_all = once * config.steps
    print(
      f'| {name} | {config.steps:,} | {once / 1e12:.2f} '
      f'| {in_all / v100:.0f} | {in_all / h200:.1f} |',
      flush=True,
    )
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
