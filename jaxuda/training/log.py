"""What a run logs: terminal lines, metrics.csv and TensorBoard events."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np

from jaxuda import config as config_lib
from jaxuda.evaluation import alarms
from jaxuda.evaluation.scores import Scores, table
from jaxuda.training.clock import Clock
from jaxuda.training.events import Events
from jaxuda.utils import metrics_csv
from jaxuda.utils.console import duration, print0

LOSS = 'loss/'
LEARNING_RATE = 'optim/lr'  # of every line of training, and of no evaluation
_PROFILED = (10, 15)  # steps of a session


def describe(config, state, mesh: jax.sharding.Mesh) -> None:
  """Print what is trained on what; of the state, shapes are enough."""

  def count(tree):
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))

  kind = mesh.devices.flat[0].device_kind
  print0(
    f'{config.method} on {mesh.size} x {kind}, {jax.process_count()} '
    f'process(es), {config.model.dtype}'
  )
  print0(
    f'segmenter {count(state.segmenter.params):,} parameters, '
    f'discriminators {count(state.discriminators.params):,}'
  )


class Log:
  """The log of one run; only the first process writes.

  metrics.csv holds what is a function of the config alone (losses, scores), so
  that an interrupted and continued run writes the same file as an
  uninterrupted one. Rates go to the terminal and to TensorBoard. Both name a
  number alike, group/name.

  Attributes:
    evaluated: the steps whose evaluation metrics.csv had when the run was
      resumed.
  """

  def __init__(self, folder: pathlib.Path, steps: int, images_per_step: int):
    """Open the log.

    Args:
      folder: of the run.
      steps: of the whole training.
      images_per_step: of all streams together.
    """
    self._folder = folder
    self._first = jax.process_index() == 0
    self._csv = metrics_csv.MetricsCsv(folder / 'metrics.csv')
    self._events = Events(folder, just_logging=not self._first)
    self._steps, self._images = steps, images_per_step
    self._clock = Clock()
    self.evaluated: set[int] = set()
    self._rows: list[dict[str, float]] = []

  @property
  def rows(self) -> int:
    """How many rows there are, of all sessions."""
    return len(self._rows)

  @property
  def unwritten(self) -> str:
    """Which rows could not be written so far, '' for none."""
    count = self._csv.waiting
    return f'{count} rows' if count else ''

  def resume(self, step: int, rows: int) -> None:
    """Drop the rows after `step`; note which steps have been evaluated.

    Args:
      step: at which the run goes on.
      rows: how many there were when its checkpoint was saved.
    """
    if self._first:
      self._csv.truncate(step)
    self._events.start(step)
    logged = metrics_csv.read_metrics(self._csv.path)
    # Other processes may read before the first one has dropped those rows.
    self._rows = [row for row in logged if row['step'] <= step]
    if len(self._rows) < rows:
      print0(
        f'note: {self._csv.path} has lost {rows - len(self._rows)} of the rows '
        f'that were logged up to step {step}'
      )
    # Without labels of the target they have no score.
    self.evaluated = {
      row['step'] for row in self._rows if LEARNING_RATE not in row
    }

  def config(self, config, params: dict) -> None:
    """Write the config and the parameters' shapes as texts to TensorBoard."""
    from clu import parameter_overview

    def code(text):
      return '\n'.join(f'    {line}' for line in text.splitlines())

    stored = json.dumps(config_lib.to_json(config), indent=1)
    shapes = parameter_overview.get_parameter_overview(
      params, include_stats=False
    )
    self._events.texts(0, {'config': code(stored), 'parameters': code(shapes)})

  def profiler(self, first: int) -> Callable[[int], object] | None:
    """Return what is called before each step, and profiles five of them.

    Args:
      first: the step at which training begins.

    Returns:
      None where too few steps are left, which is printed.
    """
    from clu import periodic_actions

    if self._steps - first <= _PROFILED[1]:
      print0(
        f'no profile will be written: it is of the {_PROFILED[0]}th to the '
        f'{_PROFILED[1]}th step, and {self._steps - first} are left'
      )
      return None
    return periodic_actions.Profile(
      logdir=self._folder,
      first_profile=first + _PROFILED[0],
      num_profile_steps=_PROFILED[1] - _PROFILED[0],
      profile_duration_ms=None,
      every_secs=None,
    )

  def start(self, step: int, seconds: float, waited_s: float) -> None:
    """Say how long the first step took, and measure the time from here on.

    Args:
      step: steps done.
      seconds: that it took to compile, and to do one step.
      waited_s: of `train`.
    """
    print0(f'compiled, and one step done, in {seconds:.0f} s')
    self._clock.start(step, waited_s)

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Keep time that is not spent on training out of the rate."""
    self._clock.stop()
    yield
    self._clock.go_on()

  def train(
    self, step: int, measured: Mapping[str, float], waited_s: float = 0.0
  ) -> None:
    """Log what the steps since the last line measured.

    Args:
      step: steps done.
      measured: means over these steps, by name.
      waited_s: seconds that the loop has waited for batches in all.
    """
    if not self._first:
      return
    self._append(step, measured)
    self._events.scalars(step, measured)
    rate, pace = '', self._clock.pace(step, waited_s)
    if pace:
      left = duration((self._steps - step) * pace)
      rate = f'  {self._images / pace:.1f} images/s  ETA {left}'
      self._events.scalars(step, {'speed/images_per_s': self._images / pace})
    losses = '  '.join(
      f'{name.removeprefix(LOSS)} {value:.4f}'
      for name, value in measured.items()
      if name.startswith(LOSS)
    )
    width = len(str(self._steps))
    print0(f'step {step:{width}}/{self._steps}  {losses}{rate}')

  def _append(self, step, values):
    self._csv.append(step, values)
    kept = {k: float(v) for k, v in values.items() if v is not None}
    self._rows.append({'step': step, **kept})

  def end(self, step: int, waited_s: float) -> dict[str, float]:
    """Print, and return, what the time of training went into.

    Args:
      step: steps done.
      waited_s: of `train`.

    Returns:
      Seconds of 'training' and of 'waiting for data', from `start` on.
    """
    self._clock.pace(step, waited_s)
    trained_s, waited_s = self._clock.trained_s, self._clock.waited_s
    if trained_s:
      share = waited_s / trained_s
      print0(f'data: training spent {share:.1%} of its time waiting for it')
    return {'training': trained_s - waited_s, 'waiting for data': waited_s}

  def scores(
    self, step: int, scores: Scores, unlabelled: Mapping[str, float]
  ) -> None:
    """Log an evaluation.

    Args:
      step: of the weights.
      scores: of no image where there are no labels.
      unlabelled: what was measured without labels; see evaluation/unlabelled.
    """
    values = {f'eval/{name}': None for name in scores.means}
    if scores.images:
      print0(f'\nevaluation at step {step}, {scores.images} images')
      print0(table({f'step {step}': scores}) + '\n')
      values = {f'eval/{name}': v for name, v in scores.means.items()}
      names = [name.replace(' ', '_') for name in scores.space.classes]
      values |= {
        f'iou/{name}': float(v)
        for name, v in zip(names, scores.ious, strict=True)
      }
    if not self._first:
      return
    values |= unlabelled
    if step not in self.evaluated:
      self._append(step, values)
      known = {k: v for k, v in values.items() if v is not None}
      self._events.scalars(
        step, {k: v for k, v in known.items() if np.isfinite(v)}
      )
    self._say(step, unlabelled)

  def _say(self, step, unlabelled):
    """Print what needs no label, and what looks wrong in it."""
    if not unlabelled:
      return
    print0(alarms.summary(step, unlabelled))
    rows: Sequence = [row for row in self._rows if row['step'] <= step]
    for sentence in alarms.balance(rows):
      print0(sentence)
    for sentence in alarms.alarms(rows):
      print0(f'alarm: {sentence}')

  def panels(self, step: int, panels: np.ndarray) -> None:
    """Write image panels u8[N, H, W, 3] to TensorBoard."""
    if self._first and step not in self.evaluated:
      self._events.images(step, {'panels': panels})

  def flush(self) -> None:
    """Write what a run that goes on from here will not write again."""
    self._csv.close()
    self._events.flush()

  def close(self) -> None:
    """Write everything."""
    self._csv.close()
    self._events.close()
