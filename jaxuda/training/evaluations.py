"""What a run looks at while it trains: scores, pictures, and label-free."""

import dataclasses
import pathlib

import jax
import numpy as np

from jaxuda.evaluation import counting, evaluator, figure_writer, unlabelled
from jaxuda.evaluation import scores as scores_lib
from jaxuda.evaluation.scores import Scores
from jaxuda.input import Records, from_config
from jaxuda.models.segmenter import Segmenter
from jaxuda.state import NetworkState, TrainState
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError
from jaxuda.utils.sharding import shard_batch

SOURCE_IMAGES = 50  # of the source's validation split


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What was found of the weights at a step.

  Attributes:
    scores: of no image where there are no labels.
    measured: without labels of the target; see unlabelled.Unlabelled.measure,
      and 'source/mIoU'.
    panels: u8[N, H, W, 3] of figure_writer.FigureWriter.panels, or None.
  """

  scores: Scores
  measured: dict[str, float]
  panels: np.ndarray | None


class Evaluations:
  """All that evaluates the weights of one run."""

  def __init__(
    self,
    config,
    net: Segmenter,
    mesh: jax.sharding.Mesh,
    streams: dict,
    scored: Records | None,
    workdir: pathlib.Path,
    resumed: bool,
  ):
    """Read what is looked at each time.

    Args:
      config: the experiment's.
      net: its segmenter.
      mesh: of all devices.
      streams: that the run reads.
      scored: the records that are scored, None for none.
      workdir: the run's folder.
      resumed: whether the run goes on; see prepare.ensure.
    """
    self._config, self._scored = config, scored
    self._count = counting.make_count(net, config.eval, mesh)
    self._put = shard_batch(mesh)
    self._classes = net.num_classes
    target = _target(config, streams, resumed)
    self._unlabelled = self._source = None
    if target is not None and config.num_unlabelled_images:
      self._unlabelled = unlabelled.Unlabelled(net, config, target, workdir)
      self._source = from_config.open_source_val(
        config, streams['source'].records, resumed
      )
    self.figures = None
    if config.num_log_images:
      # Without scored images, figures show the target that is read.
      shown = scored or target or streams['source'].records
      self.figures = figure_writer.FigureWriter(config, net, shown)
    self._is_compiled = not (self._scored or self._unlabelled or self.figures)

  def resume(self, step: int) -> None:
    """Forget what was kept of later steps than this one."""
    if self._unlabelled:
      self._unlabelled.resume(step)

  def shown(self, current: TrainState) -> NetworkState:
    """Return the segmenter or its teacher, whichever is scored."""
    of_teacher = self._config.eval.network == 'ema'
    return current.ema if of_teacher else current.segmenter

  def evaluate(self, step: int, current: TrainState, stop) -> Evaluation | None:
    """Evaluate a state; None if a signal asked to stop meanwhile.

    Args:
      step: of the state.
      current: the state.
      stop: of signals.StopSignal.
    """
    if not self._is_compiled:
      print0('compiling the evaluation ...')
      self._is_compiled = True
    network = self.shown(current)
    variables = network.params, network.batch_stats
    counts, images = self._counts(self._scored, None, variables, stop)
    measured = {}
    if self._unlabelled and not stop.requested:
      other = current.segmenter if network is current.ema else current.ema
      measured = self._unlabelled.measure(
        step, variables, other and (other.params, other.batch_stats)
      )
    if self._source and not stop.requested:
      measured |= self._source_score(variables, stop)
    if stop.requested:
      return None
    scores = evaluator.score_as(self._config, counts, images)
    panels = self.figures and self.figures.panels(*variables)
    return Evaluation(scores, measured, panels)

  def _counts(self, records, count, variables, stop):
    """Return the confusion counts of scored images, and how many."""
    if records is None:
      return np.zeros((self._classes, self._classes), np.int64), 0
    own = records is self._source
    batches = from_config.batches_of_eval(records, self._config, count, own)
    return counting.count_all(
      self._count, *variables, stop.until_requested(batches), self._put
    )

  def _source_score(self, variables, stop):
    """Return the mIoU on the source's validation split, in its own classes."""
    counts, images = self._counts(self._source, SOURCE_IMAGES, variables, stop)
    if not images:  # stopped
      return {}
    found = scores_lib.score(counts, images, self._config.classes, None)
    return {'source/mIoU': found.headline[1]}


def _target(config, streams, resumed):
  """Return the target's records, also of a run that does not train on them."""
  if 'target' in streams:
    return streams['target'].records
  try:
    opened = from_config.open_streams(config, ['target'], resumed=resumed)
    return opened['target'].records
  except UserError:
    return None  # it is not prepared, and nothing needs it
