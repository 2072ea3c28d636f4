"""Scores trained runs, ensembles of runs, or a PyTorch file.

python -m jaxuda.evaluate --workdir=RUN [--checkpoint=latest|best|STEP]
  [--scales=0.7,1.0,1.3] [--flip] [--split=SPLIT] [--data_dir=DIR]
python -m jaxuda.evaluate --workdir=RUN,RUN [--mix=0.5,0.5], for an ensemble:
  the weighted mean of the runs' upsampled logits, as ADVENT's A+E.
python -m jaxuda.evaluate --weights=FILE --config=PAGE, for a PyTorch file: in
  the network and by the protocol (`config.eval`) of that page; the scores are
  written to --workdir, runs/<the file's name> by default.
"""

import pathlib
import sys

from absl import app, flags

from jaxuda import experiment
from jaxuda.config import loading as config_lib
from jaxuda.evaluation import ensemble, evaluator
from jaxuda.torch_weights import load
from jaxuda.utils import compile_cache, hosts
from jaxuda.utils.errors import UserError, exit_with_sentence


def define_flags() -> None:
  """The flags of this command line, which others may want too."""
  flags.DEFINE_string('workdir', None, 'Folder of the run, or RUN,RUN.')
  flags.DEFINE_list('mix', None, "The runs' weights; default: equal.")
  flags.DEFINE_string('weights', None, 'A PyTorch file to score instead.')
  flags.DEFINE_string('config', None, 'With --weights: a config page.')
  flags.DEFINE_string('checkpoint', 'latest', 'latest, best or a step.')
  flags.DEFINE_list('scales', None, 'Input scales that are averaged: 0.7,1.0.')
  flags.DEFINE_bool('flip', None, 'Average with the mirrored input, too.')
  flags.DEFINE_string('split', None, "Score this split instead of the run's.")
  flags.DEFINE_string('data_dir', None, 'Where prepared datasets are.')
  hosts.define_flags()


def _open(extra, overrides):
  """The ensemble.Members, or the PyTorch file as one, that are asked for."""
  given = flags.FLAGS
  of_file = given.weights and given.config and given.checkpoint == 'latest'
  if of_file and not extra:
    path = pathlib.Path(given.weights)
    run, found = load.load_segmenter(
      config_lib.load(given.config, overrides), path
    )
    if not found.complete:
      raise UserError(
        f'{path} cannot be scored: it lacks {len(found.fresh)} tensors, such as '
        f'{next(iter(found.fresh))}.'
      )
    workdir = pathlib.Path(given.workdir or f'runs/{path.stem}')
    [weight] = ensemble.weights(given.mix, 1)
    return [ensemble.Member(workdir, run, weight)]
  if extra or overrides or not given.workdir or given.weights or given.config:
    raise UserError(
      'usage: python -m jaxuda.evaluate --workdir=RUN[,RUN], or '
      '--weights=FILE --config=PAGE; --help.'
    )
  paths = ensemble.folders(given.workdir)
  mix = ensemble.weights(given.mix, len(paths))
  members = [
    ensemble.Member(path, experiment.load(path, given.checkpoint), weight)
    for path, weight in zip(paths, mix, strict=True)
  ]
  if given.checkpoint == 'best':
    print('oracle-selected: this checkpoint was chosen by target labels.')
  return members


def _override(config) -> None:
  """Writes what the flags say of the evaluation into a run's config."""
  given = flags.FLAGS
  if given.scales:
    try:
      config.eval.scales = tuple(float(s) for s in given.scales)
    except ValueError as e:
      raise UserError(f'--scales takes numbers: {e}.') from e
    if not all(0.1 <= s <= 10 for s in config.eval.scales):
      raise UserError('--scales takes numbers from 0.1 to 10.')
  for name in ('flip', 'split'):
    if given[name].value is not None:
      config.eval[name] = given[name].value
  if given.data_dir:
    with config.ignore_type():
      config.data_dir = given.data_dir


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  define_flags()
  if '--help' in argv or '-h' in argv:
    app.usage(shorthelp=True, writeto_stdout=True)
    return 0
  argv, overrides = config_lib.split_overrides(argv)
  try:
    extra = flags.FLAGS(argv)[1:]
  except flags.Error as e:
    raise UserError(str(e)) from e
  hosts.join()
  compile_cache.enable()
  members = _open(extra, overrides)
  for member in members:
    _override(member.run.config)
  run = ensemble.join(members)
  with hosts.ends_with_its_peers():
    evaluator.evaluate_run(run, members[0].path, ensemble.record(members))
  return 0


if __name__ == '__main__':
  exit_with_sentence(main, sys.argv)
