"""Runs that are scored together, as ADVENT's A+E: AdvEnt with MinEnt."""

import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from jaxuda import experiment
from jaxuda.evaluation import scores as scores_lib
from jaxuda.models.ensemble import Ensemble
from jaxuda.utils.errors import UserError

_LONGEST_NAME = 120
_BY_FLAG = ('scales', 'flip', 'split')  # which flags set for all runs
_PROTOCOL = (
  *_BY_FLAG,
  'name',
  'size',
  'average',
  'upsample',
  'missing_class_iou',
)


class Member(NamedTuple):
  """One of the runs, and the weight of its logits.

  Attributes:
    path: the run's folder.
    run: the run.
    weight: 0..1; those of all members are 1 together.
  """

  path: pathlib.Path
  run: experiment.Run
  weight: float


def folders(workdirs: str) -> list[pathlib.Path]:
  """Return the folders of --workdir=RUN or RUN,RUN.

  Raises:
    UserError: one is left empty, or is named twice.
  """
  if pathlib.Path(workdirs).is_dir():  # a comma may be part of a name
    return [pathlib.Path(workdirs)]
  names = workdirs.split(',')
  paths = [pathlib.Path(name) for name in names]
  if not all(names) or len({path.resolve() for path in paths}) < len(paths):
    raise UserError(
      f'--workdir={workdirs} must name the folder of a run, or of several '
      'different ones with commas between them.'
    )
  return paths


def weights(texts: Sequence[str] | None, count: int) -> tuple[float, ...]:
  """Return the weights of --mix, divided by their sum.

  Args:
    texts: the flag's values; None for equal weights.
    count: of the runs.

  Raises:
    UserError: they are not `count` numbers of at least 0, or all are 0.
  """
  if texts is None:
    return (1 / count,) * count
  try:
    numbers = [float(text) for text in texts]
  except ValueError:
    numbers = []
  total = sum(numbers)
  if (
    len(numbers) != count
    or not all(number >= 0 for number in numbers)
    or not 0 < total < math.inf
  ):
    raise UserError(
      f'--mix={",".join(texts)} must have a weight for each run of --workdir, '
      f'here {count}: numbers of at least 0, not all 0.'
    )
  return tuple(number / total for number in numbers)


def open_members(
  workdirs: str,
  mix: Sequence[str] | None,
  checkpoint: str,
  network: str | None = None,
) -> list[Member]:
  """Return the runs of --workdir with their weights of --mix.

  Args:
    workdirs, mix: the flags' values.
    checkpoint, network: of each run, see experiment.load.

  Raises:
    UserError: as `folders`, `weights` and experiment.load.
  """
  paths = folders(workdirs)
  return [
    Member(path, experiment.load(path, checkpoint, network), weight)
    for path, weight in zip(paths, weights(mix, len(paths)), strict=True)
  ]


def join(members: Sequence[Member]) -> experiment.Run:
  """Return the run whose network is the ensemble, or the only run itself.

  Its config and step are the first member's.

  Raises:
    UserError: two differ in their classes, or in how they are scored.
  """
  first, *others = members
  if not others:
    return first.run
  ours = _protocol(first.run)
  for other in others:
    for key, theirs in _protocol(other.run).items():
      if ours[key] != theirs:
        hint = ''
        if key.removeprefix('eval.') in _BY_FLAG:
          hint = f'; --{key.removeprefix("eval.")} sets it for all'
        raise UserError(
          f'{first.path} has {key}={ours[key]} and {other.path} has {theirs}: '
          f'runs of an ensemble share classes, data and protocol{hint}.'
        )
  each = [member.run for member in members]
  return dataclasses.replace(
    first.run,
    net=Ensemble(
      tuple(run.net for run in each),
      tuple(member.weight for member in members),
    ),
    params=tuple(run.params for run in each),
    batch_stats=tuple(run.batch_stats for run in each),
  )


def _protocol(run):
  """{key: value} of all that members must have in common."""
  shared = {f'eval.{key}': run.config.eval[key] for key in _PROTOCOL}
  spaces = {'classes': run.space, 'eval.classes': run.eval_space}
  return {key: space.identity for key, space in spaces.items()} | shared


def record(members: Sequence[Member]) -> list[dict]:
  """Return what scores.json says of the members; [] for a single one."""
  if len(members) == 1:
    return []
  return [
    {'run': str(m.path.resolve()), 'step': m.run.step, 'weight': m.weight}
    for m in members
  ]


def title(record: Sequence[dict]) -> str:
  """Return '0.5 advent + 0.5 minent', for tables and figures."""
  return ' + '.join(f'{m["weight"]:g} {_name(m)}' for m in record)


def folder_name(record: Sequence[dict]) -> str:
  """Return 'with=minent-9-mix=0.5,0.5'; the folder lies in the first run's.

  A long one is cut off, and told apart by a hash.
  """
  others = ','.join(f'{_name(m)}-{m["step"]}' for m in record[1:])
  mix = ','.join(f'{m["weight"]:g}' for m in record)
  name = f'with={others}-mix={mix}'
  if len(name) <= _LONGEST_NAME:
    return name
  # File systems take 255 bytes; what is cut off still makes a difference.
  digest = hashlib.sha256(name.encode()).hexdigest()[:8]
  return f'{name[:_LONGEST_NAME]}-{digest}'


def check_free(folder: pathlib.Path, record: Sequence[dict]) -> None:
  """Refuse a folder that has the scores of another ensemble.

  Two runs may have the same name and lie in different places.

  Raises:
    UserError: it has such scores, or damaged ones.
  """
  path = folder / 'scores.json'
  if not path.is_file():
    return
  if scores_lib.read_content(path).get('ensemble') != record:
    raise UserError(
      f'{path} has the scores of different runs: move {folder} away.'
    )


def _name(member):
  return pathlib.Path(member['run']).name
