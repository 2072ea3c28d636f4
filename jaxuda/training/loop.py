"""The training loop, read from top to bottom."""

import contextlib
import functools
import time

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from jaxuda import checkpoints, experiment, optim, state
from jaxuda import input as input_lib
from jaxuda.evaluation import scores as scores_lib
from jaxuda.evaluation.scores import Scores
from jaxuda.reports import sessions
from jaxuda.training import own_data, priors, stages, start
from jaxuda.training.divergence import Divergence
from jaxuda.training.evaluations import Evaluation, Evaluations
from jaxuda.training.log import LEARNING_RATE, Log, describe
from jaxuda.training.means import Means
from jaxuda.training.watchdog import COMPILING, Watchdog, WatchedStop
from jaxuda.utils import sharding, xla
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


@functools.cache  # a run that goes on in the same process does not trace again
def _jitted_step(config: FrozenConfigDict, mesh: jax.sharding.Mesh):
  """Return the step of an experiment, compiled once; its state is donated."""
  return xla.jit(
    experiment.train_step(config),
    donate_argnums=0,
    out_shardings=sharding.replicated(mesh),
  )


def check_terms(config, mesh: jax.sharding.Mesh, streams: dict) -> None:
  """Refuse a step with a term that is not weighed, before anything is written.

  The step is traced for that, which training then need not do again.

  Args:
    config: the experiment's.
    mesh: of all devices.
    streams: that the run reads; nothing is checked where only their images
      would tell the shapes.

  Raises:
    UserError: names the term.
  """
  shapes = {name: stream.shapes() for name, stream in streams.items()}
  if None in shapes.values():
    return
  split = sharding.split(mesh)
  batch = {
    name: {
      key: jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=split)
      for key, shape in given.items()
    }
    for name, given in shapes.items()
  }
  abstract = experiment.abstract_state(config)
  constants = experiment.constants(
    config, abstract.segmenter, priors.find(config, streams['source'])
  )
  step = _jitted_step(FrozenConfigDict(config), mesh)
  whole = sharding.replicated(mesh)
  placed = functools.partial(sharding.shapes, placed=whole)
  step.trace(placed(abstract), batch, placed(constants))


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
    self.session = sessions.Session(workdir, mesh)
    self.config, self.workdir = config, workdir
    self.streams, scored = opened
    self.fingerprints = own_data.fingerprints(self.streams)
    self.mesh, self.replicated = mesh, sharding.replicated(mesh)
    self.put = sharding.shard_batch(mesh)
    self.nets, self.txs = experiment.build(config)
    self.step = _jitted_step(FrozenConfigDict(config), mesh)
    resumed = bool(checkpoints.steps(workdir / 'checkpoints'))
    self.evaluations = Evaluations(
      config, self.nets.segmenter, mesh, self.streams, scored, workdir, resumed
    )
    self.init = stages.init_dir(config, workdir)
    self.start = start.find_start(self.init, config, resumed)
    self.d_start = d_start
    self.priors = priors.of_run(config, self.streams['source'], workdir)
    self.constants = start.constants(
      config, self.start, self.priors, self.replicated
    )
    # An encoder with new heads is no network to score or to draw.
    self.scored_start = self.start and start.is_complete(self.start)

  def train(
    self, stop, watchdog: Watchdog, profile: bool = False
  ) -> Scores | None:
    """Train to the end; return the scores, None if a signal stopped it.

    Args:
      stop: of signals.StopSignal.
      watchdog: is told what is done.
      profile: whether some steps are profiled for TensorBoard.
    """
    config, self.stop, self.watchdog = self.config, stop, watchdog
    images = sum(stream.batch_size for stream in self.streams.values())
    self.checkpoints = checkpoints.Checkpoints(
      self.workdir / 'checkpoints',
      keep_latest=config.keep_checkpoints.latest,
      keep_every=config.keep_checkpoints.every,
    )
    with contextlib.closing(self.checkpoints):
      current, notes = self._first_state()
      priors.keep(self.priors, self.workdir)
      first = int(current.step)
      self.log = Log(self.workdir, config.steps, images)
      with contextlib.closing(self.log):
        self.log.resume(first, notes.get('rows', 0))
        self.profile = self.log.profiler(first) if profile else None
        self.evaluations.resume(first)
        if first == 0:
          self.log.config(config, current.segmenter.params)
        batches = input_lib.train_batches(
          self.streams,
          seed=config.seed,
          first_step=first,
          process_index=jax.process_index(),
          process_count=jax.process_count(),
        )
        with input_lib.prefetch(batches, self.put) as stream:
          current, scores = self._loop(current, first, stream)
        self.session.write(first, int(current.step))
        self._print_saves(int(current.step), stopped=scores is None)
        if scores is None:
          return None
        failed = self.checkpoints.failed.get(config.steps)
        for what, reason in (
          ('the last checkpoint', failed),
          ('metrics.csv', self.log.unwritten),
        ):
          if reason:
            raise UserError(
              f'{what} of {self.workdir} was not written ({reason}): make room '
              'and start again.'
            )
        with self.session.time('drawing'):
          self.watchdog.at('drawing', config.steps)
          self._finish(current, scores)
        self.session.write(first, int(current.step))
        return scores

  def _first_state(self) -> tuple[state.TrainState, dict]:
    """Return the newest checkpoint and its notes, or a fresh state and {}."""
    abstract = experiment.abstract_state(self.config)
    describe(self.config, abstract, self.mesh)
    self.means = Means()
    self.divergence = Divergence(self.config, self.workdir, self.streams)
    if self.checkpoints.latest_step() is not None:
      abstract = sharding.shapes(abstract, self.replicated)
      current, notes = self.checkpoints.restore('latest', abstract)
      # What `weights import` has made has trained no step.
      self.means.restore(notes.get('means', {}), self.replicated)
      self.divergence.explosion.restore(
        notes.get('explosion', []), self.replicated
      )
      own_data.refuse_changed(self.fingerprints, notes.get('data', {}))
      print0(f'continuing at step {int(current.step)}')
      return current, notes
    current = start.init_state(
      self.config, self.start, self.d_start, self.replicated
    )
    if self.start:
      print0(f'starting from {self.init}, step {self.start.step}')
    else:
      print0('starting from random weights, as config.init names none')
    return current, {}

  def _loop(self, current, first, stream):
    """At step i: evaluate, save, then update; all see the same weights."""
    config = self.config
    for i in range(first, config.steps + 1):
      last, found = i == config.steps, None
      due = i % config.eval_every == 0 and not self._scored_before(i)
      if last or (due and (i > 0 or self.scored_start)):
        found = self._evaluate(i, current)
      stopping = self.stop.requested_at(i)
      # What was scored is saved, so that the best one is there afterwards.
      due = found or i % config.checkpoint_every == 0
      if last or stopping or (due and i > 0):
        self._save(i, current, found)
      if last or stopping:
        break
      self.watchdog.at('waiting for data', i)
      batch = next(stream)
      self.watchdog.at(COMPILING if i == first else 'training', i)
      if self.profile:
        self.profile(i)
      if i == first:
        began = time.monotonic()
        print0('compiling the training step ...')
      with jax.transfer_guard('disallow'):
        current, measured = self.step(current, batch, self.constants)
        self.means.add(measured)
        self.divergence.add(measured)
      if i == first:
        self.divergence.refuse(i + 1, self.means.skipped_in_row)
        self.session.add('compiling', time.monotonic() - began)
        self.log.start(i + 1, time.monotonic() - began, stream.waited_s)
      if (i + 1) % config.log_every == 0:
        self.divergence.refuse(i + 1, self.means.skipped_in_row)
        self.log.train(i + 1, self._measured(i), stream.waited_s)
    for what, seconds in self.log.end(i, stream.waited_s).items():
      self.session.add(what, seconds)
    return current, found.scores if last and found else None

  def _scored_before(self, i) -> bool:
    """Whether a run that was stopped here has left the scores everywhere."""
    return i in self.log.evaluated and self.checkpoints.metric(i) is not None

  def _measured(self, i):
    """Return the means since the last line, and the rate of step i."""
    rate = optim.learning_rate(self.config)(i)
    return self.means.take() | {LEARNING_RATE: float(rate)}

  def _evaluate(self, i, current) -> Evaluation | None:
    """Evaluate the weights before step i; None if stopped meanwhile."""
    self.divergence.refuse(i, current.skipped_in_row)
    with self.log.paused(), self.session.time('evaluating'):
      self.watchdog.at('evaluating', i)
      watched = WatchedStop(self.stop, self.watchdog)
      found = self.evaluations.evaluate(i, current, watched)
      if found is None:
        return None
      if i == 0:  # what a method gains is measured from here
        start_scores = scores_lib.to_json(found.scores)
        scores_lib.write(self.workdir / scores_lib.START, start_scores)
      self.log.scores(i, found.scores, found.measured)
      if found.panels is not None:
        self.log.panels(i, found.panels)
      self.log.flush()
      return found

  def _save(self, i, current, found):
    self.divergence.refuse(i, current.skipped_in_row)
    if self.divergence.may_be_exploding:
      print0(f'step {i} is not saved: its loss is far beyond its running scale')
      return
    # What a run starts from is not a candidate for its best.
    metrics = {'miou': found.scores.headline[1]} if found and i > 0 else {}
    with self.log.paused(), self.session.time('saving'):
      self.watchdog.at('saving', i)
      self.log.flush()
      notes = {
        'means': self.means.to_json(),
        'explosion': self.divergence.explosion.to_json(),
        'data': self.fingerprints,
        'rows': self.log.rows,
      }
      self.checkpoints.save(i, current, metrics, notes)

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
    after = self.evaluations.shown(current)
    networks[self.workdir.name] = after.params, after.batch_stats
    if figures := self.evaluations.figures:
      source = self.streams['source'].records
      figures.draw(self.workdir / 'figures', source, networks, scores)
    scores_lib.write(self.workdir / 'scores.json', scores_lib.to_json(scores))
