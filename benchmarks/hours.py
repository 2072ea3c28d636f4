"""Reckons how long each config page trains at full size.

  python -m benchmarks.hours [--pages=advent,fada]

Prints steps, the operations of a step's convolutions (floor.py), and hours: on
one V100 at the rate that paper 001 reports, 150,000 steps in about 25 hours; and
on one H200 at half of its dense rate in bfloat16. Nothing is trained. The docs of
the pages state the first of the two.
"""

import pathlib

from absl import app, flags

from benchmarks import common, floor
from jaxuda.config import loading as config_lib

_PAGES = flags.DEFINE_list('pages', None, 'Names of pages; default: all.')

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
PAPER_001 = ('advent_patch', 150_000, 25.0)  # page, steps, hours


def operations(page: str) -> float:
  """Multiplications and additions of one step of a page, GTA5 -> Cityscapes."""
  config = config_lib.load(str(CONFIGS / f'{page}.py'))
  return floor.of_convolutions(config, common.random_batch(config))[0]


def main(argv) -> None:
  del argv
  page, steps, hours = PAPER_001
  v100 = operations(page) * steps / hours  # an hour
  h200 = floor.RATES['NVIDIA H200'][0] / 2 * 3600
  files = sorted(path.stem for path in CONFIGS.glob('[a-z]*.py'))
  print('| page | steps | TFLOP a step | V100, hours | H200, hours |')
  print('|---|---|---|---|---|')
  for page in _PAGES.value or [name for name in files if name != 'common']:
    config = config_lib.load(str(CONFIGS / f'{page}.py'))
    once = operations(page)
    in_all = once * config.steps
    print(
      f'| {page} | {config.steps:,} | {once / 1e12:.2f} '
      f'| {in_all / v100:.0f} | {in_all / h200:.1f} |',
      flush=True,
    )


if __name__ == '__main__':
  app.run(main)
