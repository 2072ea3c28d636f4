"""What a run logs: terminal lines, metrics.csv and TensorBoard events."""

import pathlib
import time

import jax
import numpy as np

from jaxuda.evaluation.scores import Scores, table
from jaxuda.training import metrics_csv
from jaxuda.utils.console import duration, print0


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
  uninterrupted one. Rates go to the terminal and to TensorBoard.

  Attributes:
    evaluated: the steps whose scores metrics.csv had when the run was resumed.
  """

  def __init__(self, folder: pathlib.Path, steps: int, images_per_step: int):
    """Open the log.

    Args:
      folder: of the run.
      steps: of the whole training.
      images_per_step: of all streams together.
    """
    # Its summary writers need TensorFlow, which takes seconds to import.
    from clu import metric_writers

    self._first = jax.process_index() == 0
    self._csv = metrics_csv.MetricsCsv(folder / 'metrics.csv')
    self._events = (
      metric_writers.SummaryWriter(str(folder)) if self._first else None
    )
    self._steps, self._images = steps, images_per_step
    self._mark = None
    self._trained_s = self._waited_s = 0.0
    self.evaluated: set[int] = set()

  def resume(self, step: int) -> None:
    """Drop the rows after `step`; note which steps have been evaluated."""
    if self._first:
      self._csv.truncate(step)
    rows = metrics_csv.read_metrics(self._csv.path)
    # Other processes may read before the first one has dropped those rows.
    self.evaluated = {
      row['step']
      for row in rows
      if row['step'] <= step and any(k.startswith('eval_') for k in row)
    }

  def pause(self) -> None:
    """Keep time that is not spent on training out of the rate."""
    self._mark = None

  def train(
    self, step: int, measured: dict[str, np.ndarray], waited_s: float = 0.0
  ) -> None:
    """Log what the step that has just ended measured.

    Args:
      step: steps done.
      measured: of step.train_step, on the host.
      waited_s: seconds that the loop has waited for batches in all.
    """
    if not self._first:
      return
    values = {k: float(v) for k, v in measured.items()}
    self._csv.append(step, values)
    now, rate, eta = time.monotonic(), '', ''
    if self._mark is not None:
      mark_step, mark_time, mark_waited = self._mark
      pace = (now - mark_time) / (step - mark_step)
      rate = f'  {self._images / pace:.1f} images/s'
      eta = f'  ETA {duration((self._steps - step) * pace)}'
      self._events.write_scalars(step, {'images_per_s': self._images / pace})
      self._trained_s += now - mark_time
      self._waited_s += waited_s - mark_waited
    self._mark = (step, now, waited_s)
    self._events.write_scalars(step, values)
    losses = '  '.join(
      f'{k.removeprefix("loss_")} {v:.4f}'
      for k, v in values.items()
      if k.startswith('loss_')
    )
    width = len(str(self._steps))
    print0(f'step {step:{width}}/{self._steps}  {losses}{rate}{eta}')

  def waited(self) -> None:
    """Print how much of the training time went into waiting for data."""
    if self._trained_s:
      share = self._waited_s / self._trained_s
      print0(f'data: training spent {share:.1%} of its time waiting for it')

  def scores(self, step: int, scores: Scores) -> None:
    """Log an evaluation; one without labels has nothing to print."""
    if not scores.images:
      if self._first and step not in self.evaluated:
        self._csv.append(step, {f'eval_{k}': None for k in scores.means})
      return
    print0(f'\nevaluation at step {step}, {scores.images} images')
    print0(table({f'step {step}': scores}) + '\n')
    if not self._first:
      return
    values = {f'eval_{k}': v for k, v in scores.means.items()}
    names = [name.replace(' ', '_') for name in scores.space.classes]
    values |= {
      f'eval_iou_{name}': float(v)
      for name, v in zip(names, scores.ious, strict=True)
    }
    if step not in self.evaluated:
      self._csv.append(step, values)
    self._events.write_scalars(
      step, {k: v for k, v in values.items() if np.isfinite(v)}
    )

  def panels(self, step: int, panels: np.ndarray) -> None:
    """Write image panels u8[N, H, W, 3] to TensorBoard."""
    if self._first:
      self._events.write_images(step, {'panels': panels})

  def close(self) -> None:
    """Flush everything to disk."""
    self._csv.close()
    if self._first:
      self._events.close()
