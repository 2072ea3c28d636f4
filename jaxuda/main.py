"""Train an experiment.

  python -m jaxuda.main --config=configs/advent_patch.py:streets

--config.KEY=VALUE overrides any key of the config.
"""

import os
import pathlib
import sys

from jaxuda import config as config_lib
from jaxuda.utils import cli, hosts
from jaxuda.utils.errors import UserError


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = cli.Flags()
  command.text(
    'workdir',
    None,
    'Folder of the run; started again in it, a run continues. Default: '
    'runs/<config>.',
  )
  hosts.define_flags(command)
  argv = config_lib.define(command.values, argv)
  if cli.wants_help(argv):
    command.parse(argv, __doc__)
    return 0
  cli.placed(config_lib.parse_flags(command.values, argv), ())
  config = config_lib.value(command.values)
  if config is None:
    raise UserError('--config=configs/NAME.py is needed; see --help.')
  name = config_lib.run_name(command.values, argv)
  workdir = pathlib.Path(command.values.workdir or os.path.join('runs', name))

  hosts.join(command.values)

  from jaxuda import train
  from jaxuda.utils import compile_cache

  compile_cache.enable()
  with hosts.exit_if_peer_lost():
    return train.train(config, workdir)


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
