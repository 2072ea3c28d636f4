"""Train an experiment.

  python -m jaxuda.main --config=configs/advent_patch.py:streets

--config.KEY=VALUE overrides any key of the config. Several runs, one after the
other or one on each GPU, each in a folder of its own, and then compared:

  --seeds=0,1,2  --sweep.optim.lr=1e-4,1e-3
"""

import os
import pathlib
import sys

from jaxuda import config as config_lib
from jaxuda.training import sweep
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
  # Taken off the command line before absl sees it; here for --help.
  command.text('seeds', None, 'Seeds of several runs: 0,1,2.')
  command.text('sweep', None, '--sweep.KEY=VALUE,VALUE: values of a key.')
  command.boolean(
    'profile',
    False,
    "Write a profile of some steps, from the tenth on, for TensorBoard's "
    'profile page.',
  )
  hosts.define_flags(command)
  given, values = sweep.take(argv)
  argv = config_lib.define(command.values, given)
  if cli.wants_help(argv):
    return _print_help(command, argv)
  cli.placed(config_lib.parse_flags(command.values, argv), ())
  if command.values.sweep:
    raise UserError('write --sweep.KEY=VALUE,VALUE.')
  config = config_lib.value(command.values)
  if config is None:
    raise UserError('--config=configs/NAME.py is needed; see --help.')
  name = config_lib.run_name(command.values, argv)
  if values:
    return _train_several(given, values, command.values.workdir, name)
  workdir = pathlib.Path(command.values.workdir or os.path.join('runs', name))

  from jaxuda.training import first_checks

  first_checks.check(config, workdir)
  # A run's own watchdog is to come long before jax's, which ends with a dump.
  patience_s = max(600.0, 10 * config.stuck_after) if config.stuck_after else 60
  hosts.join(command.values, patience_s)

  from jaxuda import train
  from jaxuda.utils import compile_cache

  compile_cache.enable()
  with hosts.exit_if_peer_lost():
    return train.train(config, workdir, command.values.profile)


def _print_help(command, argv) -> int:
  """Print the flags, and all configs or the keys of the one that is named."""
  from jaxuda.config import help as help_lib

  doc = f'{__doc__}\n{help_lib.configs()}\n'
  if any(argument.startswith('--config=') for argument in argv):
    rest = [a for a in argv if not cli.wants_help([a])]
    config_lib.parse_flags(command.values, rest)
    config = config_lib.value(command.values)
    known = help_lib.keys(config, config_lib.settings_of(config))
    doc = f'{__doc__}\n{known}\n'
  command.parse(argv, doc)
  return 0


def _train_several(argv, values, workdir, name) -> int:
  """Train all runs of a sweep, then compare them; exit status."""
  planned = sweep.plan(argv, values, workdir)
  status = sweep.run(planned)
  if status:
    return status

  from jaxuda.reports import compare, content

  output = pathlib.Path(f'{workdir or os.path.join("runs", name)}-comparison')
  compare.write(content.read_all([each.workdir for each in planned]), output)
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
