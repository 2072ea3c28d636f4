"""What a row trains: its config, its folder, and the stages before it."""

import functools
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from ml_collections import ConfigDict

from benchmarks.tables.rows import Row
from jaxuda import config as config_lib
from jaxuda.training import stages

FOLDER = pathlib.Path('runs/table')


class Run(NamedTuple):
  """A row that is trained with one seed.

  Attributes:
    row: of a table.
    seed: of all that is random.
    folder: where the runs of all rows are.
  """

  row: Row
  seed: str = '0'
  folder: pathlib.Path = FOLDER

  @property
  def overrides(self) -> list[str]:
    """KEY=VALUE of the row, its seed, and the runs that it goes on from."""
    given = [*self.row.overrides, f'seed={self.seed}']
    for key, row in (
      ('init', self.row.init),
      ('target.labels', self.row.labels),
    ):
      if row:
        given.append(f'{key}={self.of(row).workdir}')
    return given

  @property
  def config(self) -> ConfigDict:
    """The config, which is shared: not to be changed."""
    return load(self.row.config, tuple(self.overrides))

  @property
  def workdir(self) -> pathlib.Path:
    """The folder in which other runs, too, look for a stage of this config."""
    return stages.stage_dir(self.config, self.folder / 'any')

  def of(self, row: Row) -> 'Run':
    """Return the run of another row, with the same seed."""
    return self._replace(row=row)


@functools.cache
def load(config: str, overrides: tuple[str, ...]) -> ConfigDict:
  """Return a row's config, which is shared: not to be changed."""
  return config_lib.load(f'configs/{config}', overrides)


class Stage(NamedTuple):
  """A training, with all that comes before it.

  Attributes:
    workdir: its folder.
    steps: of itself.
    init: the stage whose network it goes on from.
    labels: the stages that make its labels.
  """

  workdir: pathlib.Path
  steps: int
  init: 'Stage | None'
  labels: tuple['Stage', ...]

  @property
  def before(self) -> list['Stage']:
    """The stages that it needs itself."""
    return [*self.labels, *([self.init] if self.init else [])]

  @property
  def depth(self) -> int:
    """How many trainings there are before it, one after the other."""
    return max((1 + stage.depth for stage in self.before), default=0)

  @property
  def network_steps(self) -> int:
    """The steps of its network, from its first weights on, along `init`."""
    return self.steps + (self.init.network_steps if self.init else 0)

  def all(self) -> dict[pathlib.Path, int]:
    """Return the folders and the steps of all trainings, its own included."""
    found = {self.workdir: self.steps}
    for stage in self.before:
      found |= stage.all()
    return found


def stage_of(run: Run) -> Stage:
  """Return what a run trains: rows in the place of the config's own stages."""
  named = {'init_stage': run.row.init, 'target.labels_stage': run.row.labels}
  given = {k: stage_of(run.of(row)) for k, row in named.items() if row}
  return _stage(run.config, run.workdir, given)


def _stage(config, workdir, given) -> Stage:
  found = {
    key: _stage(stage, stages.stage_dir(stage, workdir), {})
    for key, stage in config_lib.stages(config).items()
  }
  found |= given
  init = found.pop('init_stage', None)
  return Stage(workdir, config.steps, init, tuple(found.values()))


class Steps(NamedTuple):
  """How long a line of a table trains.

  Attributes:
    network: from its first weights on, along `init`.
    total: of all that it takes, such as what makes its labels, too.
  """

  network: int
  total: int


def steps_of(given: Iterable[Row]) -> Steps:
  """Return the steps of a row, or of the networks of an ensemble.

  Of an ensemble's networks it is the longest that counts.
  """
  found = [stage_of(Run(row)) for row in given]
  everything = {}
  for stage in found:
    everything |= stage.all()
  longest = max(stage.network_steps for stage in found)
  return Steps(longest, sum(everything.values()))
