"""The training loop, read from top to bottom."""

import contextlib
import functools

import jax
import numpy as np
from ml_collections import FrozenConfigDict

from jaxuda import checkpoints, experiment, state
from jaxuda import input as input_lib
from jaxuda.evaluation import counting, evaluator, figure_writer
from jaxuda.evaluation import scores as scores_lib
from jaxuda.evaluation.scores import Scores
from jaxuda.input import from_config
from jaxuda.training import stages, start
from jaxuda.training.log import Log, describe
from jaxuda.utils import sharding, xla
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


@functools.cache  # a run that goes on in the same process does not trace again
def _jitted_step(config: FrozenConfigDict, mesh: jax.sharding.Mesh):
  """Return the step of an experiment, compiled once; its state is donated."""
  return jax.jit(
    experiment.train_step(config),
    donate_argnums=0,
    out_shardings=sharding.replicated(mesh),
    compiler_options=xla.options(mesh),
  )


class Run:
  """One run from its start or last checkpoint to its end.

  Nothing is written before `train`.
  """

  def __init__(self, config, workdir, mesh, opened, d_start):
    """Build what the run needs.

    Args:
      config: the experiment's.
      workdir: the run's folder.
      mesh: of all devices.
      opened: of from_config.open_inputs; the second is None where nothing is
        scored.
      d_start: {discriminator: params} to start from; {} for random ones.

    Raises:
      UserError: what the run starts from is missing or does not fit.
    """
    self.config, self.workdir = config, workdir
    self.streams, self.eval_records = opened
    self.mesh, self.replicated = mesh, sharding.replicated(mesh)
    self.put = sharding.shard_batch(mesh)
    self.nets, self.txs = experiment.build(config)
    self.step = _jitted_step(FrozenConfigDict(config), mesh)
    segmenter = self.nets.segmenter
    self.count = counting.make_count(segmenter, config.eval, mesh)
    # Without scored images, what figures show is the target that is read.
    read = self.streams.get('target') or self.streams['source']
    shown = self.eval_records or read.records
    self.figures = figure_writer.FigureWriter(config, segmenter, shown)
    resumed = bool(checkpoints.steps(workdir / 'checkpoints'))
    self.init = stages.init_dir(config, workdir)
    self.start = start.find_start(self.init, config, resumed)
    self.d_start = d_start
    self.frozen = start.frozen_encoder(config, self.start, self.replicated)
    # An encoder with new heads is no network to score or to draw.
    self.scored_start = self.start and start.is_complete(self.start)

  def train(self, stop) -> Scores | None:
    """Train to the end; return the scores, None if a signal stopped it."""
    config, self.stop = self.config, stop
    images = sum(stream.batch_size for stream in self.streams.values())
    self.checkpoints = checkpoints.Checkpoints(self.workdir / 'checkpoints')
    with contextlib.closing(self.checkpoints):
      current = self._first_state()
      first = int(current.step)
      self.log = Log(self.workdir, config.steps, images)
      with contextlib.closing(self.log):
        self.log.resume(first)
        batches = input_lib.train_batches(
          self.streams,
          seed=config.seed,
          first_step=first,
          process_index=jax.process_index(),
          process_count=jax.process_count(),
        )
        with input_lib.prefetch(batches, self.put) as stream:
          current, scores = self._loop(current, first, stream)
        self._print_saves(int(current.step), stopped=scores is None)
        if scores is None:
          return None
        if reason := self.checkpoints.failed.get(config.steps):
          raise UserError(
            f'the last checkpoint of {self.workdir} was not written ({reason}):'
            ' make room and start again.'
          )
        self._finish(current, scores)
        return scores

  def _first_state(self) -> state.TrainState:
    """Return the newest checkpoint, or a fresh state, made on its devices."""
    abstract = state.abstract(self.nets, self.txs)
    describe(self.config, abstract, self.mesh)
    if self.checkpoints.latest_step() is not None:
      abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
          x.shape, x.dtype, sharding=self.replicated
        ),
        abstract,
      )
      current, _ = self.checkpoints.restore('latest', abstract)
      print0(f'continuing at step {int(current.step)}')
      return current
    current = start.init_state(
      self.config.seed,
      self.nets,
      self.txs,
      self.start,
      self.d_start,
      self.replicated,
    )
    if self.start:
      print0(f'starting from {self.init}, step {self.start.step}')
    else:
      print0('starting from random weights, as config.init names none')
    return current

  def _loop(self, current, first, stream):
    """At step i: evaluate, save, then update; all see the same weights."""
    config = self.config
    for i in range(first, config.steps + 1):
      last, scores = i == config.steps, None
      due = i % config.eval_every == 0 and not self._scored_before(i)
      if last or (due and (i > 0 or self.scored_start)):
        scores = self._evaluate(i, current)
      stopping = self.stop.requested_at(i)
      # What was scored is saved, so that the best one is there afterwards.
      due = scores or i % config.checkpoint_every == 0
      if last or stopping or (due and i > 0):
        self._save(i, current, scores)
      if last or stopping:
        break
      batch = next(stream)
      with jax.transfer_guard('disallow'):
        current, measured = self.step(current, batch, self.frozen)
      if i == first or (i + 1) % config.log_every == 0:
        self._log(i + 1, measured, stream.waited_s)
    self.log.waited()
    return current, scores if last else None

  def _scored_before(self, i) -> bool:
    """Whether a run that was stopped here has left the scores everywhere."""
    return i in self.log.evaluated and self.checkpoints.metric(i) is not None

  def _refuse_diverged(self, done, skipped_in_row):
    """End a run at its limit, before its state is scored or saved."""
    in_row = int(skipped_in_row)
    if in_row >= self.config.max_nonfinite_steps:
      raise UserError(
        f'training diverged: the gradients of {in_row} steps in a row before '
        f'step {done} were not finite. The checkpoints in {self.workdir} are '
        'from before; lower config.optim.lr in another --workdir, or raise '
        'config.max_nonfinite_steps.'
      )

  def _log(self, done, measured, waited_s):
    measured = jax.device_get(measured)
    self._refuse_diverged(done, measured.pop('skipped_in_row'))
    if done % self.config.log_every == 0:
      self.log.train(done, measured, waited_s)

  def _evaluate(self, i, current) -> Scores | None:
    """Score the weights before step i; None if stopped meanwhile."""
    config, scored = self.config, self._scored(current)
    self._refuse_diverged(i, current.skipped_in_row)
    counts, images = self._counts(scored)
    if self.stop.requested:
      return None
    scores = evaluator.score_as(config, counts, images)
    if i == 0:  # what a method gains is measured from here
      scores_lib.write(self.workdir / stages.START, scores_lib.to_json(scores))
    self.log.scores(i, scores)
    panels = self.figures.panels(scored.params, scored.batch_stats)
    self.log.panels(i, panels)
    self.log.pause()
    return scores

  def _counts(self, scored):
    """Return the confusion counts of the scored images, and how many."""
    if self.eval_records is None:
      classes = self.nets.segmenter.num_classes
      return np.zeros((classes, classes), np.int64), 0
    batches = from_config.batches_of_eval(self.eval_records, self.config)
    return counting.count_all(
      self.count,
      scored.params,
      scored.batch_stats,
      self.stop.until_requested(batches),
      self.put,
    )

  def _scored(self, current):
    """Return the segmenter or its teacher, whichever is scored."""
    of_teacher = self.config.eval.network == 'ema'
    return current.ema if of_teacher else current.segmenter

  def _save(self, i, current, scores):
    self._refuse_diverged(i, current.skipped_in_row)
    # What a run starts from is not a candidate for its best.
    metrics = {'miou': scores.headline[1]} if scores and i > 0 else {}
    self.checkpoints.save(i, current, metrics)
    self.log.pause()

  def _print_saves(self, step, stopped):
    """Print which checkpoints failed, and after a signal how to continue."""
    self.checkpoints.close()  # the last save may fail as late as here
    for failed, reason in self.checkpoints.failed.items():
      print0(f'the checkpoint of step {failed} was not written ({reason})')
    if stopped:
      latest, where = self.checkpoints.latest_step(), ''
      if latest != step:
        where = ' from the start' if latest is None else f' from step {latest}'
      print0(
        f'stopped by a signal at step {step}; start again to continue{where}.'
      )

  def _finish(self, current, scores):
    """Draw the final figures, then write the file that says the run is done."""
    networks = {}
    if self.scored_start:
      title = stages.init_title(self.config)
      networks[title] = self.start.params, self.start.batch_stats
    after = self._scored(current)
    networks[self.workdir.name] = after.params, after.batch_stats
    source = self.streams['source'].records
    self.figures.draw(self.workdir / 'figures', source, networks, scores)
    scores_lib.write(self.workdir / 'scores.json', scores_lib.to_json(scores))
