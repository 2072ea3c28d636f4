"""What several analyses need: runs, pairs of domains, and tables."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from jaxuda import config as config_lib
from jaxuda import experiment, labels
from jaxuda import input as input_lib
from jaxuda.datasets import specs
from jaxuda.evaluation import scores as scores_lib
from jaxuda.evaluation.scores import Scores
from jaxuda.utils import cli, files, names
from jaxuda.utils.errors import UserError


def define_run_flags(command: cli.Flags) -> None:
  """Define the flags by which an analysis opens runs; see `load_runs`."""
  define_workdirs(command)
  command.text('checkpoint', 'latest', 'latest, best or a step, of each run.')
  command.text(
    'split', None, "Look at this split instead of the runs' eval.split."
  )
  command.text(
    'data_dir', None, "Where prepared datasets are; default: each run's."
  )


def define_workdirs(command: cli.Flags) -> None:
  """Define --workdirs, enough for an analysis that reads the files of runs."""
  command.list('workdirs', None, 'Folders of runs: runs/a,runs/b.')


def titles(workdirs: Sequence[str] | None) -> dict[str, pathlib.Path]:
  """Return {title: folder}; titles are the shortest path ends that differ.

  Args:
    workdirs: the folders, in the order of the result.

  Raises:
    UserError: there is none, or one is named twice.
  """
  if not workdirs:
    raise UserError('--workdirs=RUN,RUN is needed; see --help.')
  paths = [pathlib.Path(w).expanduser() for w in workdirs]
  if len(set(paths)) < len(paths):
    raise UserError(f'--workdirs names a folder twice: {",".join(workdirs)}.')
  return dict(zip(names.of_paths(paths), paths, strict=True))


def load_runs(given: flags.FlagValues) -> dict[str, experiment.Run]:
  """Return {title: run} of --workdirs, all of which are scored on one split.

  Raises:
    UserError: one is not a run, or they are scored on different data.
  """
  found = {}
  for title, path in titles(given.workdirs).items():
    run = experiment.load(path, given.checkpoint)
    if given.split:
      run.config.eval.split = given.split
    if given.data_dir:
      with run.config.ignore_type():
        run.config.data_dir = given.data_dir
    found[title] = run
  cli.print_if_best(given.checkpoint)
  check_same(
    {title: run.config for title, run in found.items()},
    ('classes', 'eval.name', 'eval.split', 'eval.size'),
  )
  return found


def read_scores(
  workdirs: Sequence[str], like: Scores | None = None
) -> dict[str, Scores]:
  """Return {title: scores} of the scores.json of folders, of one class space.

  Args:
    workdirs: folders of finished runs, or of evaluations.
    like: scores whose class space theirs must be; None for that of the first.

  Raises:
    UserError: one has no scores, or scores of other classes.
  """
  found = {}
  for title, path in titles(workdirs).items():
    found[title] = scores_lib.read(path / 'scores.json')
    if found[title] is None:
      raise UserError(
        f'{path} has no scores.json: finish the run with jaxuda.main, or name '
        'the folder that jaxuda.evaluate has written.'
      )
    like = like or found[title]
    scored, first = found[title].space.identity, like.space.identity
    if scored != first:
      raise UserError(
        f'{path} is scored on {scored}, not on {first} like the others.'
      )
  return found


def check_same(configs: dict, keys: Iterable[str]) -> None:
  """Refuse runs that cannot be compared.

  Args:
    configs: a run's title to its config.
    keys: in which they must be equal.

  Raises:
    UserError: two differ.
  """
  (first, one), *others = configs.items()
  for title, other in others:
    for key in keys:
      ours, theirs = comparable(one, key), comparable(other, key)
      if ours != theirs:
        raise UserError(
          f'{first} has {key}={ours} and {title} has {theirs}: they cannot be '
          'compared.'
        )


def comparable(config, key: str) -> Any:
  """Return a value of a config; of classes what is equal for equal ones."""
  value = config_lib.flatten(config).get(key)
  if value and key in ('classes', 'eval.classes'):
    return labels.space(value).identity
  return value


class Pair(NamedTuple):
  """Two prepared domains, and the class space in which they are compared.

  Attributes:
    names, sizes: of source and target, as prepare.ensure wants them.
    space: name of the class space.
    data_dir: where they are prepared.
  """

  names: tuple[str, str]
  sizes: tuple[specs.Size, specs.Size]
  space: str
  data_dir: str | None

  def open(self, i: int, split: str) -> input_lib.Records:
    """Open a labelled split of the source (0) or the target (1)."""
    records = input_lib.open_records(
      self.names[i], self.sizes[i], split, self.data_dir
    )
    records.require_labels()
    return records


def define_pair_flags(command: cli.Flags) -> None:
  """Define the flags that name two domains; see `find_pair`."""
  command.text(
    'config',
    'configs/source_only.py:streets',
    'A config file: its source, its target and its classes are compared.',
  )
  for name in ('source', 'target'):
    command.text(
      name, None, f"Another dataset as {name}: gta5; default: the config's."
    )
    command.text(f'{name}_size', None, "As prepared; default: the config's.")
  command.text('classes', None, "The class space; default: the config's.")
  command.text('data_dir', None, 'Where prepared datasets are.')


def find_pair(given: flags.FlagValues) -> Pair:
  """Return the pair that the flags name, and the config where they do not.

  Raises:
    UserError: there is no such config, dataset, size or class space.
  """
  config = config_lib.load(given.config)
  names, sizes = [], []
  for key in ('source', 'target'):
    of_config = config[key]
    name, text = given[key].value or of_config.name, given[f'{key}_size'].value
    specs.split_spec(name)  # an unknown dataset has no size either
    if not text and name != of_config.name:
      raise UserError(f'--{key}_size=HxW of {name} is needed, as prepared.')
    names.append(name)
    sizes.append(specs.parse_size(text) if text else of_config.size)
  space = given.classes or config.eval.classes or config.classes
  labels.space(space)  # before anything is prepared for it
  data_dir = given.data_dir or config.data_dir
  return Pair(tuple(names), tuple(sizes), space, data_dir)


def eval_batch_size(config, mesh: jax.sharding.Mesh) -> int:
  """Return `eval.batch_size`, rounded up to what the devices can share."""
  return -(-config.eval.batch_size // mesh.size) * mesh.size


def write_csv(
  path: pathlib.Path, header: Sequence[str], rows: Iterable[Sequence]
) -> None:
  """Write a table whole, floats to six digits, NaN as an empty cell.

  Args:
    path: of the CSV file.
    header: names of the columns.
    rows: their cells.

  Raises:
    UserError: the file cannot be written.
  """

  def cell(value):
    if not isinstance(value, float | np.floating):
      return value
    return '' if np.isnan(value) else f'{value:.6g}'

  files.write_csv(path, header, [[cell(v) for v in row] for row in rows])
