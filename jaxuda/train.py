"""The training loop, read from top to bottom; only orchestration."""

import contextlib
import functools
import pathlib

import jax
from ml_collections import FrozenConfigDict

from jaxuda import checkpoints, experiment, methods, state
from jaxuda import input as input_lib
from jaxuda.config import loading as config_lib
from jaxuda.evaluation import counting, evaluator, figure_writer
from jaxuda.evaluation import scores as scores_lib
from jaxuda.evaluation.scores import Scores
from jaxuda.input import inputs
from jaxuda.pseudo_labels import writer
from jaxuda.torch_weights import load
from jaxuda.training import checks, stages, start
from jaxuda.training import workdir as workdir_lib
from jaxuda.training.log import Log, describe
from jaxuda.utils import sharding, signals
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError

# What may differ when a run is continued: it does not change any number.
HARMLESS = (
  'data_dir',
  'log_every',
  'eval_every',
  'checkpoint_every',
  'panels',
  'max_skipped',
  'eval.batch_size',
)

STOPPED = 143  # exit status after a signal: 128 + SIGTERM


def train(config, workdir: pathlib.Path) -> int:
  """Trains an experiment in `workdir`, or continues it there.

  Where `config.init` names a config page, that experiment is trained first,
  in its own folder beside `workdir`, unless it is there already or is not
  needed any more, as `workdir` has checkpoints of its own. The same of a page
  that a stream's `labels` names, until it has made them.

  Returns:
    The exit status: 0 at the end, 143 when a signal stopped it earlier.

  Raises:
    UserError: see the modules that are called; nothing is written then.
  """
  workdir = pathlib.Path(workdir)
  mesh = sharding.make_mesh()
  checks.check(config, mesh)
  # What is wrong or missing is told before anything is trained.
  stored = config_lib.to_json(config)
  workdir_lib.check_config(workdir, stored, HARMLESS)
  init_run = stages.folder(config.init, config.seed, workdir)
  training, scores, d_start = None, stages.read_scores(workdir), {}
  if scores is None:
    streams = methods.load(config.method).STREAMS
    labels = stages.pseudo_folders(config, streams, workdir)
    opened = inputs.open_inputs(config, streams, labels)
    missing = [s for s in streams if labels[s] and not labels[s].is_dir()]
    earlier = [config[s].labels for s in missing]
    if not checkpoints.steps(workdir / 'checkpoints'):
      d_start = load.load_discriminators(config)
      stages.check_page(config.init, config)
      stages.check_labels(config, streams)
      earlier.insert(0, config.init)
    for named in earlier:
      status = _train_first(named, config, workdir)
      if status:
        return status
    if missing:
      for stream in missing:
        writer.make_for(config, stream, labels[stream])
      opened = inputs.open_inputs(config, streams, labels)
    training = _Training(config, workdir, mesh, opened, init_run, d_start)
  with workdir_lib.open_workdir(workdir, stored, harmless=HARMLESS):
    if training:
      with signals.StopSignal() as stop:
        scores = training.run(stop)
  if scores is None:
    return STOPPED
  stages.conclude(workdir, scores, init_run)
  return 0


def _train_first(named, config, workdir) -> int:
  """Trains the page that is named, unless that is done; exit status."""
  first_stage = stages.page(named, config.seed)
  folder = stages.folder(named, config.seed, workdir)
  if not first_stage:
    return 0
  overrides = [f'data_dir={config.data_dir}'] if config.data_dir else []
  before = config_lib.load(first_stage, overrides)
  if stages.read_scores(folder):
    # How it was scored is no matter to what goes on from it.
    harmless = (*HARMLESS, 'eval')
    workdir_lib.check_config(folder, config_lib.to_json(before), harmless)
    return 0
  print0(f'first stage: {first_stage} in {folder}')
  status = train(before, folder)
  if not status:
    print0(f'\nfirst stage done; now {workdir}')
  return status


@functools.cache  # a run that goes on in the same process does not trace again
def _jitted_step(config: FrozenConfigDict, mesh: jax.sharding.Mesh):
  """The step of an experiment, compiled once; its state is donated."""
  return jax.jit(
    experiment.train_step(config),
    donate_argnums=0,
    out_shardings=sharding.replicated(mesh),
  )


class _Training:
  """One run from its start or last checkpoint to its end.

  Nothing is written before `run`.
  """

  def __init__(self, config, workdir, mesh, opened, init_run, d_start):
    self.config, self.workdir = config, workdir
    self.streams, self.eval_records = opened
    self.mesh, self.replicated = mesh, sharding.replicated(mesh)
    self.put = sharding.putter(mesh)
    self.nets, self.txs = experiment.build(config)
    self.step = _jitted_step(FrozenConfigDict(config), mesh)
    segmenter = self.nets.segmenter
    self.count = counting.make_count(segmenter, config.eval, mesh)
    self.painter = figure_writer.Painter(config, segmenter, self.eval_records)
    self.init_run = init_run
    resumed = bool(checkpoints.steps(workdir / 'checkpoints'))
    self.start = start.find_start(init_run, config, resumed)
    self.d_start = d_start
    # A backbone with new heads is no network to score or to draw.
    self.scored_start = self.start and start.is_complete(self.start)

  def run(self, stop) -> Scores | None:
    """Trains to the end; None if a signal stopped it."""
    config, self.stop = self.config, stop
    images = sum(stream.batch_size for stream in self.streams.values())
    self.checkpoints = checkpoints.Checkpoints(self.workdir / 'checkpoints')
    with contextlib.closing(self.checkpoints):
      current = self._start()
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
        self._tell_saves(int(current.step), stopped=scores is None)
        if scores is None:
          return None
        if reason := self.checkpoints.failed.get(config.steps):
          raise UserError(
            f'the last checkpoint of {self.workdir} was not written ({reason}):'
            ' make room and start again.'
          )
        self._finish(current, scores)
        return scores

  def _start(self) -> state.TrainState:
    """The newest checkpoint, or a fresh state, born on its devices."""
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
    current = start.begin(
      self.config.seed,
      self.nets,
      self.txs,
      self.start,
      self.d_start,
      self.replicated,
    )
    if self.start:
      print0(f'starting from {self.init_run}, step {self.start.step}')
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
        current, measured = self.step(current, batch)
      if i == first or (i + 1) % config.log_every == 0:
        self._log(i + 1, measured, stream.waited_s)
    self.log.waited()
    return current, scores if last else None

  def _scored_before(self, i) -> bool:
    """Whether a run that was stopped here has left the scores everywhere."""
    return i in self.log.evaluated and self.checkpoints.metric(i) is not None

  def _refuse_diverged(self, done, skipped_in_row):
    """Ends a run at its limit, before its state is scored or saved."""
    in_row = int(skipped_in_row)
    if in_row >= self.config.max_skipped:
      raise UserError(
        f'training diverged: the gradients of {in_row} steps in a row before '
        f'step {done} were not finite. The checkpoints in {self.workdir} are '
        'from before; lower config.optim.lr in another --workdir, or raise '
        'config.max_skipped.'
      )

  def _log(self, done, measured, waited_s):
    measured = jax.device_get(measured)
    self._refuse_diverged(done, measured.pop('skipped_in_row'))
    if done % self.config.log_every == 0:
      self.log.train(done, measured, waited_s)

  def _evaluate(self, i, current) -> Scores | None:
    """The scores of the weights before step i; None if stopped meanwhile."""
    config, segmenter = self.config, current.segmenter
    self._refuse_diverged(i, current.skipped_in_row)
    batches = inputs.batches_of_eval(self.eval_records, config)
    counts, images = counting.count_all(
      self.count,
      segmenter.params,
      segmenter.batch_stats,
      self.stop.until_requested(batches),
      self.put,
    )
    if self.stop.requested:
      return None
    scores = evaluator.score_as(config, counts, images)
    if i == 0:  # what a method gains is measured from here
      scores_lib.write(self.workdir / stages.START, scores_lib.to_json(scores))
    self.log.scores(i, scores)
    self.log.panels(
      i, self.painter.panels(segmenter.params, segmenter.batch_stats)
    )
    self.log.pause()
    return scores

  def _save(self, i, current, scores):
    self._refuse_diverged(i, current.skipped_in_row)
    # What a run starts from is not a candidate for its best.
    metrics = {'miou': scores.headline[1]} if scores and i > 0 else {}
    self.checkpoints.save(i, current, metrics)
    self.log.pause()

  def _tell_saves(self, step, stopped):
    """Which checkpoints failed, and after a signal how to continue."""
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
    """The final figures, then the file that says that the run is done."""
    networks = {}
    if self.scored_start:
      networks[self.init_run.name] = self.start.params, self.start.batch_stats
    after = current.segmenter
    networks[self.workdir.name] = after.params, after.batch_stats
    source = self.streams['source'].records
    self.painter.draw(self.workdir / 'figures', source, networks, scores)
    scores_lib.write(self.workdir / 'scores.json', scores_lib.to_json(scores))
