"""Trains an experiment.

  python -m jaxuda.main --config=configs/advent_patch.py:streets

This file is kept short: the loop is in train.py.
"""

import os
import pathlib
import sys

from absl import app, flags

from jaxuda.config import loading as config_lib
from jaxuda.utils import hosts
from jaxuda.utils.errors import UserError, exit_with_sentence

_CONFIG = flags.DEFINE_string(
  'config',
  None,
  'A config page, with its argument behind a colon: '
  'configs/advent_patch.py:streets,steps=300. --config.KEY=VALUE overrides '
  'any of its keys.',
)
_WORKDIR = flags.DEFINE_string(
  'workdir',
  None,
  'Folder of the run; started again in it, a run continues. Default: '
  'runs/<config>.',
)
hosts.define_flags()


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  argv, overrides = config_lib.split_overrides(argv)
  try:
    extra = flags.FLAGS(argv)[1:]
  except flags.Error as e:
    raise UserError(str(e)) from e
  if extra:
    raise UserError(f'unexpected argument {extra[0]!r}.')
  if not _CONFIG.value:
    raise UserError('--config=configs/PAGE.py is needed; see --help.')
  config = config_lib.load(_CONFIG.value, overrides)
  name = config_lib.run_name(_CONFIG.value, overrides)
  workdir = pathlib.Path(_WORKDIR.value or os.path.join('runs', name))

  hosts.join()

  from jaxuda import train
  from jaxuda.utils import compile_cache

  compile_cache.enable()
  with hosts.ends_with_its_peers():
    return train.train(config, workdir)


if __name__ == '__main__':
  if '--help' in sys.argv or '-h' in sys.argv:
    app.usage(shorthelp=True, writeto_stdout=True)
    sys.exit(0)
  exit_with_sentence(main, sys.argv)
