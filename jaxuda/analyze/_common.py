"""What several experiments need: runs, pairs of domains, and tables."""

import csv
import functools
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from absl import flags

from jaxuda import experiment, labels
from jaxuda import input as input_lib
from jaxuda.config import loading as config_lib
from jaxuda.datasets import specs
from jaxuda.evaluation.scores import Scores
from jaxuda.training import stages
from jaxuda.utils import files
from jaxuda.utils.errors import UserError


def define_run_flags(given: flags.FlagValues) -> None:
  """The flags by which an experiment opens runs; see `load_runs`."""
  define_workdirs(given)
  text = functools.partial(flags.DEFINE_string, flag_values=given)
  text('checkpoint', 'latest', 'latest, best or a step, of each run.')
  text('split', None, "Look at this split instead of the runs' eval.split.")
  text('data_dir', None, "Where prepared datasets are; default: each run's.")


def define_workdirs(given: flags.FlagValues) -> None:
  """--workdirs alone, for experiments that read what runs have written."""
  flags.DEFINE_list(
    'workdirs', None, 'Folders of runs: runs/a,runs/b.', flag_values=given
  )


def titles(workdirs: Sequence[str] | None) -> dict[str, pathlib.Path]:
  """A short name for each folder, in their order: the last parts that differ.

  Raises:
    UserError: there is none, or one is named twice.
  """
  if not workdirs:
    raise UserError('--workdirs=RUN,RUN is needed; see --help.')
  paths = [pathlib.Path(w).expanduser() for w in workdirs]
  for length in range(1, 1 + max(len(path.parts) for path in paths)):
    named = {'/'.join(path.parts[-length:]): path for path in paths}
    if len(named) == len(paths):
      return named
  raise UserError(f'--workdirs names a folder twice: {",".join(workdirs)}.')


def load_runs(given: flags.FlagValues) -> dict[str, experiment.Run]:
  """The runs of --workdirs by their titles, which are scored on one split.

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
  if given.checkpoint == 'best':
    print('oracle-selected: these checkpoints were chosen by target labels.')
  same(
    {title: run.config for title, run in found.items()},
    ('classes', 'eval.name', 'eval.split', 'eval.size'),
  )
  return found


def read_scores(
  workdirs: Sequence[str], like: Scores | None = None
) -> dict[str, Scores]:
  """The scores.json of each folder by its title, of one class space.

  Args:
    workdirs: folders of finished runs, or of evaluations.
    like: scores whose class space theirs must be; None for that of the first.

  Raises:
    UserError: one has no scores, or scores of other classes.
  """
  found = {}
  for title, path in titles(workdirs).items():
    try:
      found[title] = stages.read_scores(path)
    except (ValueError, LookupError, TypeError, AttributeError) as e:
      raise UserError(f'{path / "scores.json"} is damaged: {e}.') from e
    if found[title] is None:
      raise UserError(
        f'{path} has no scores.json: finish the run with jaxuda.main, or name '
        'the folder that jaxuda.evaluate has written.'
      )
    like = like or found[title]
    if found[title].space.name != like.space.name:
      raise UserError(
        f'{path} is scored on {found[title].space.name}, not on '
        f'{like.space.name} as the others.'
      )
  return found


def same(configs: dict, keys: Iterable[str]) -> None:
  """Raises UserError where configs, by title, differ in one of the keys."""
  (first, one), *others = configs.items()
  one = config_lib.flatten(one)
  for title, config in others:
    other = config_lib.flatten(config)
    for key in keys:
      if one.get(key) != other.get(key):
        raise UserError(
          f'{first} has {key}={one.get(key)} and {title} has '
          f'{other.get(key)}: they cannot be compared.'
        )


class Pair(NamedTuple):
  """Two prepared domains, and the class space in which they are compared.

  Attributes:
    names, sizes: of source and target, as datasets.ensure wants them.
    space: name of the class space.
    data_dir: where they are prepared.
  """

  names: tuple[str, str]
  sizes: tuple[specs.Size, specs.Size]
  space: str
  data_dir: str | None

  def open(self, i: int, split: str) -> input_lib.Records:
    """A labelled split of the source (0) or the target (1)."""
    records = input_lib.open_records(
      self.names[i], self.sizes[i], split, self.data_dir
    )
    records.require_labels()
    return records


def define_pair_flags(given: flags.FlagValues) -> None:
  """The flags that name two domains; see `find_pair`."""
  text = functools.partial(flags.DEFINE_string, flag_values=given)
  text('source', 'streets/game', 'A prepared dataset: gta5, synthia.')
  text('target', 'streets/city', 'Another one: cityscapes, camvid.')
  for name in ('source', 'target'):
    text(f'{name}_size', None, "As prepared; default: the configs' for it.")
  text('classes', None, "The class space; default: the configs' for this pair.")
  text('data_dir', None, 'Where prepared datasets are.')


def find_pair(given: flags.FlagValues) -> Pair:
  """The pair that the flags name; sizes and classes as in configs/common.py.

  Raises:
    UserError: a size or the class space of this pair is in no config.
  """
  from configs import common

  sizes, spaces = {}, {}
  for make in common.SETTINGS.values():
    config = make()
    names = (config.source.name, config.target.name)
    sizes |= zip(names, (config.source.size, config.target.size), strict=True)
    spaces[names] = config.eval.classes or config.classes
  names = (given.source, given.target)

  def size(name, text):
    if text:
      return specs.parse_size(text)
    specs.split_spec(name)  # an unknown dataset has no size either
    return sizes.get(name)

  found = tuple(map(size, names, (given.source_size, given.target_size)))
  for key, name, value in zip(('source', 'target'), names, found, strict=True):
    if value is None and given[f'{key}_size'].value != 'full':
      raise UserError(f'--{key}_size=HxW of {name} is needed, as prepared.')
  space = given.classes or spaces.get(names)
  if space is None:
    raise UserError(
      f'--classes is needed for {names[0]} and {names[1]}, such as '
      'cityscapes19; see --help.'
    )
  labels.space(space)  # before anything is prepared for it
  return Pair(names, found, space, given.data_dir)


def write_csv(
  path: pathlib.Path, header: Sequence[str], rows: Iterable[Sequence]
) -> None:
  """Writes a table, atomically; floats to six digits, NaN as nothing.

  Raises:
    UserError: the file cannot be written.
  """

  def cell(value):
    if not isinstance(value, float | np.floating):
      return value
    return '' if np.isnan(value) else f'{value:.6g}'

  def write(file):
    with file.open('w', newline='') as stream:
      writer = csv.writer(stream, lineterminator='\n')
      writer.writerow(header)
      writer.writerows([cell(value) for value in row] for row in rows)

  files.write(path, write)
