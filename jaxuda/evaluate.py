"""Score trained runs, ensembles of runs, or a PyTorch file.

  python -m jaxuda.evaluate --workdir=RUN [--checkpoint=latest|best|STEP]
    [--network=segmenter|ema] [--scales=0.7,1.0,1.3] [--flip] [--split=SPLIT]
    [--dataset=NAME] [--size=HxW] [--classes=SPACE] [--data_dir=DIR]
  python -m jaxuda.evaluate --workdir=RUN,RUN [--mix=0.5,0.5]
  python -m jaxuda.evaluate --weights=FILE --config=FILE

RUN,RUN is an ensemble: the weighted mean of the runs' upsampled logits, as
ADVENT's A+E. A PyTorch file is scored in the network and by the protocol
(`config.eval`) of the config. Scores and figures are written into `evaluation/`
of --workdir, which is runs/<the file's name> for a PyTorch file by default.
"""

import pathlib
import sys

from jaxuda import config as config_lib
from jaxuda.datasets import specs
from jaxuda.utils import cli, hosts
from jaxuda.utils.errors import UserError


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('workdir', None, 'Folder of the run, or RUN,RUN.')
  command.list('mix', None, "The runs' weights; default: equal.")
  command.text(
    'weights',
    None,
    'A PyTorch file, or the name of published weights, to score.',
  )
  cli.define_checkpoint(command)
  cli.define_averaging(command)
  command.text('split', None, "Score this split instead of the run's.")
  command.text('dataset', None, "Score this dataset instead of the run's.")
  command.text('size', None, "HxW of its images; default: the target's.")
  command.text('classes', None, "The class space; default: the run's.")
  command.text('data_dir', None, 'Where prepared datasets are.')
  hosts.define_flags(command)
  return command


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  argv = config_lib.define(command.values, argv)
  if cli.wants_help(argv):
    command.parse(argv, __doc__)
    return 0
  extra = config_lib.parse_flags(command.values, argv)
  config = config_lib.value(command.values)
  given = command.values
  of_file = (
    given.weights
    and config
    and given.checkpoint == 'latest'
    and given.network != 'ema'
  )
  of_runs = given.workdir and not given.weights and not config
  if extra or not (of_file or of_runs):
    raise UserError(
      'usage: python -m jaxuda.evaluate --workdir=RUN[,RUN], or '
      '--weights=FILE --config=FILE; see --help.'
    )
  scales = cli.parse_scales(given.scales)

  hosts.join(given)

  from jaxuda.evaluation import ensemble, evaluator
  from jaxuda.utils import compile_cache

  compile_cache.enable()
  if of_file:
    members = [_of_file(config, given)]
  else:
    cli.print_if_best(given.checkpoint)
    members = ensemble.open_members(
      given.workdir, given.mix, given.checkpoint, given.network
    )
  for member in members:
    _override(member.run.config, given, scales)
  run = ensemble.join(members)
  with hosts.exit_if_peer_lost():
    evaluator.evaluate_run(run, members[0].path, ensemble.record(members))
  return 0


def _of_file(config, given):
  """Return the PyTorch file as a member of an ensemble of one."""
  from jaxuda.evaluation import ensemble
  from jaxuda.torch_weights import load, published

  path = published.find(given.weights)
  run, found = load.load_segmenter(config, path)
  if not found.complete:
    raise UserError(
      f'{path} cannot be scored: it lacks {len(found.fresh)} tensors, such as '
      f'{next(iter(found.fresh))}.'
    )
  workdir = pathlib.Path(given.workdir or f'runs/{path.stem}')
  [weight] = ensemble.weights(given.mix, 1)
  return ensemble.Member(workdir, run, weight)


def _override(config, given, scales) -> None:
  """Write what the flags say of the evaluation into a run's config."""
  with config.unlocked(), config.ignore_type():
    if scales:
      config.eval.scales = scales
    for name in ('flip', 'split'):
      if given[name].value is not None:
        config.eval[name] = given[name].value
    if given.dataset:
      config.eval.name = given.dataset
      config.eval.size = config.eval.size or config.target.size
    if given.size:
      config.eval.size = specs.parse_size(given.size)
    if given.classes:
      config.eval.classes = given.classes
    if given.data_dir:
      config.data_dir = given.data_dir


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
