"""What a run's folder tells: read once, as plain values."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

import ml_collections
import numpy as np

from jaxuda import config as config_lib
from jaxuda.evaluation import alarms, unlabelled
from jaxuda.evaluation import scores as scores_lib
from jaxuda.reports import sessions
from jaxuda.utils import metrics_csv, names
from jaxuda.utils.console import print_once
from jaxuda.utils.errors import UserError

# Groups of metrics.csv that have a table of their own.
_TABLES = ('iou', 'share')


@dataclasses.dataclass(frozen=True)
class RunContent:
  """A run, finished or not.

  Attributes:
    workdir: its folder.
    name: by which it is told from the others that are shown.
    config: the experiment's.
    rows: of its metrics.csv.
    scores: its last ones; None before its end, of no image without labels.
    start: the scores of what it started from, if that was scored.
  """

  workdir: pathlib.Path
  name: str
  config: ml_collections.ConfigDict
  rows: Sequence[Mapping[str, float]]
  scores: scores_lib.Scores | None
  start: scores_lib.Scores | None

  @property
  def step(self) -> int:
    """The last step that was logged."""
    return max((row['step'] for row in self.rows), default=0)

  @property
  def headline(self) -> str:
    """How good the last network is, in a sentence."""
    if self.scores is None:
      return f'not finished: step {self.step:,} of {self.config.steps:,}'
    if not self.scores.images:
      return 'trained without labels of its target, and not scored'
    name, value = self.scores.headline
    whose = "'s teacher" if self.config.eval.network == 'ema' else ''
    text = (
      f'{name} {100 * value:.1f} (last checkpoint{whose}, '
      f'{self.scores.images} images of {self.config.eval.name}, '
      f'{self.config.eval.split})'
    )
    if self.start:
      text += f'; {100 * self.start.headline[1]:.1f} at its start'
    return text

  @functools.cached_property
  def terms(self) -> dict[str, tuple[list[int], list[float]]]:
    """Each number that was logged: its steps, and its values."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for row in self.rows:
      for name, value in row.items():
        if name == 'step' or name.partition('/')[0] in _TABLES:
          continue
        steps, values = found.setdefault(name, ([], []))
        steps.append(int(row['step']))
        values.append(value)
    return found

  @property
  def mious(self) -> tuple[list[int], list[float]] | None:
    """The steps that were scored, and the mean that is the headline of each."""
    if self.scores is None or not self.scores.images:
      return None
    return self.terms.get(f'eval/{self.scores.headline[0]}')

  @functools.cached_property
  def alarms(self) -> list[tuple[int, str]]:
    """The step and the sentence of each alarm, in order."""
    return [
      (int(row['step']), sentence)
      for i, row in enumerate(self.rows)
      if 'target/entropy' in row
      for sentence in alarms.alarms(self.rows[: i + 1])
    ]

  @property
  def last_alarms(self) -> list[tuple[int, str]]:
    """Those of the last evaluation."""
    steps = [row['step'] for row in self.rows if 'target/entropy' in row]
    return [(step, said) for step, said in self.alarms if step == steps[-1]]

  @property
  def balance(self) -> list[str]:
    """A sentence on each discriminator's game at the end."""
    return alarms.balance(self.rows)

  @functools.cached_property
  def shares(self) -> list[tuple[str, float, float]]:
    """(class, share of the target at the first evaluation, at the last)."""
    rows = [row for row in self.rows if 'target/entropy' in row]
    if not rows:
      return []
    return [
      (name.partition('/')[2].replace('_', ' '), rows[0][name], rows[-1][name])
      for name in rows[-1]
      if name.startswith('share/')
    ]

  @functools.cached_property
  def ensv(self) -> dict[int, float]:
    """The step of each evaluation to its agreement with the mean of all."""
    folder = self.workdir / unlabelled.FOLDER
    found = unlabelled.ensv(folder)
    last = [row['step'] for row in self.rows if 'target/entropy' in row]
    for step in last[-unlabelled.LAST :]:
      if step not in found:
        print_once(f'note: of step {step:,}, {folder} has nothing for EnsV.')
    return found

  @functools.cached_property
  def sessions(self) -> list[dict]:
    """Of sessions.read; none, with a note, where there is no such file."""
    path = self.workdir / sessions.FILE
    if not path.exists():
      print_once(
        f'note: {path} is not there: it would say when and where it ran.'
      )
    return sessions.read(self.workdir)

  @property
  def seconds(self) -> list[tuple[str, float]]:
    """What time went into, most first, over all sessions."""
    total: dict[str, float] = {}
    for session in self.sessions:
      known = session['of_which']
      rest = session['seconds'] - sum(known.values())
      for what, seconds in {**known, 'starting, and the rest': rest}.items():
        total[what] = total.get(what, 0.0) + seconds
    return sorted(total.items(), key=lambda pair: -pair[1])

  def picture(self, *parts: str) -> pathlib.Path | None:
    """Return the path of one of the run's figures, if it is there."""
    path = self.workdir.joinpath('figures', *parts)
    return path if path.is_file() else None

  def iou(self, name: str) -> float:
    """Return the IoU of a class in percent; NaN where it has none."""
    if not self.scores or not self.scores.images:
      return float('nan')
    named = dict(zip(self.scores.space.classes, self.scores.ious, strict=True))
    return 100 * float(named.get(name, np.nan))


def read_all(workdirs: Sequence[str | pathlib.Path]) -> list[RunContent]:
  """Read the folders of runs, each once.

  Raises:
    UserError: one is no run, or a file in it is damaged.
  """
  paths = list(dict.fromkeys(pathlib.Path(w).resolve() for w in workdirs))
  return [
    _read(path, name)
    for path, name in zip(paths, names.of_paths(paths), strict=True)
  ]


def _read(workdir, name) -> RunContent:
  found = RunContent(
    workdir,
    name,
    config_lib.read_run(workdir),
    metrics_csv.read_metrics(workdir / 'metrics.csv'),
    scores_lib.read(workdir / 'scores.json'),
    scores_lib.read(workdir / scores_lib.START),
  )
  # The last evaluation is logged before it is scored for good.
  if found.scores and found.step < found.config.steps:
    raise UserError(
      f'{workdir / "metrics.csv"} is damaged: it ends at step {found.step:,}, '
      f'and the run is finished at {found.config.steps:,}. Put a copy of the '
      'file back.'
    )
  _tell_what_is_lost(workdir, found)
  return found


def _tell_what_is_lost(workdir, found):
  """Print what a run's files show to be gone, or to be cut."""
  log = workdir / 'metrics.csv'
  if found.scores and (
    metrics_csv.is_torn(log) or not _was_scored(found, found.config.steps)
  ):
    print_once(f'note: {log} has lost its last rows.')
  if found.start is None and _was_scored(found, 0):
    print_once(f'note: {workdir} has lost {scores_lib.START}.')
  if found.scores is None and _was_scored(found, found.config.steps):
    print_once(
      f'note: {workdir} has no scores.json, though it was scored at its last '
      'step: the command that trained it writes it again.'
    )


def _was_scored(run, step):
  """Whether the log has scores of a step."""
  return any(
    name.startswith('eval/')
    for row in run.rows
    if row['step'] == step
    for name in row
  )
