"""The training loop, read from top to bottom; only orchestration."""

import contextlib
import functools
import pathlib

import jax
import numpy as np

from jaxuda import (
  checkpoint,
  evaluate,
  figures,
  labels,
  methods,
  runs,
  sharding,
  signals,
  stages,
  state,
  step,
)
from jaxuda import config as config_lib
from jaxuda import input as input_lib
from jaxuda import workdir as workdir_lib
from jaxuda.errors import UserError
from jaxuda.evaluate import Scores
from jaxuda.input import experiment
from jaxuda.log import Log, say

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

START = 'start_scores.json'  # of the network that a run starts from

STOPPED = 143  # exit status after a signal: 128 + SIGTERM


def train(config, workdir: pathlib.Path) -> int:
  """Trains an experiment in `workdir`, or continues it there.

  Where `config.init` names a config page, that experiment is trained first,
  in its own folder beside `workdir`, unless it is there already.

  Returns:
    The exit status: 0 at the end, 143 when a signal stopped it earlier.

  Raises:
    UserError: see the modules that are called; nothing is written then.
  """
  workdir = pathlib.Path(workdir)
  mesh = sharding.make_mesh()
  check(config, mesh)
  init_run = stages.init_workdir(config, workdir)
  first_stage = stages.first_stage(config)
  inputs, scores = None, stages.read_scores(workdir)
  if scores is None:  # what is missing is told before anything is trained
    inputs = experiment.open_inputs(config, methods.load(config.method).STREAMS)
  if first_stage and stages.read_scores(init_run) is None:
    say(f'first stage: {first_stage} in {init_run}')
    overrides = [f'data_dir={config.data_dir}'] if config.data_dir else []
    status = train(config_lib.load(first_stage, overrides), init_run)
    if status:
      return status
    say(f'\nfirst stage done; now {workdir}')
  if inputs:
    training = _Training(config, workdir, mesh, inputs, init_run)
  with workdir_lib.open_workdir(
    workdir, config_lib.to_json(config), harmless=HARMLESS
  ):
    if inputs:
      with signals.StopSignal() as stop:
        scores = training.run(stop)
  if scores is None:
    return STOPPED
  _conclude(workdir, scores, init_run)
  return 0


def check(config, mesh) -> None:
  """Refuses settings that cannot work, before anything is written."""
  method = methods.load(config.method)
  runs.segmenter(config)
  for stream in (*method.STREAMS, 'eval'):
    sharding.check_batch(
      f'{stream}.batch_size', config[stream].batch_size, mesh
    )
  labels.space(config.eval.classes or config.classes)
  rhythms = ('log_every', 'eval_every', 'checkpoint_every')
  for key in ('steps', *rhythms, 'max_skipped', 'panels'):
    if config[key] < 1:
      raise UserError(f'config.{key}={config[key]} must be at least 1.')
  if hasattr(method, 'check'):
    method.check(config)


def _conclude(workdir, scores, init_run) -> None:
  """The table, where the pictures are, and the headline."""
  columns = {workdir.name: scores}
  before = stages.read_scores(workdir, START)
  if before:
    columns = {init_run.name: before} | columns
  say('\n' + evaluate.table(columns) + '\n')
  for path in sorted((workdir / 'figures').glob('*.png')):
    say(f'figure: {path}')
  name, value = scores.headline
  line = f'{name} {100 * value:.1f} (last checkpoint, {scores.images} images)'
  if before:
    line += f'; {100 * before.headline[1]:.1f} at its start, {init_run.name}'
  say(line)


class _Training:
  """One run from its start or last checkpoint to its end.

  Nothing is written before `run`.
  """

  def __init__(self, config, workdir, mesh, inputs, init_run):
    self.config, self.workdir = config, workdir
    self.streams, self.eval_records = inputs
    self.mesh, self.replicated = mesh, sharding.replicated(mesh)
    self.put = sharding.putter(mesh)
    self.method = methods.load(config.method)
    self.nets, self.txs = runs.build(config)
    self.step = jax.jit(
      functools.partial(
        step.train_step,
        nets=self.nets,
        txs=self.txs,
        method=self.method,
        config=config,
      ),
      donate_argnums=0,
      out_shardings=self.replicated,
    )
    segmenter = self.nets.segmenter
    self.count = evaluate.make_count(segmenter, config.eval, mesh)
    self.painter = figures.Painter(config, segmenter, self.eval_records)
    self.init_run = init_run
    self.start = init_run and stages.load_start(init_run, segmenter)

  def run(self, stop) -> Scores | None:
    """Trains to the end; None if a signal stopped it."""
    config, self.stop = self.config, stop
    images = sum(stream.batch_size for stream in self.streams.values())
    self.checkpoints = checkpoint.Checkpoints(self.workdir / 'checkpoints')
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
        if scores is None:
          return None
        self.checkpoints.close()
        if reason := self.checkpoints.failed.get(config.steps):
          raise UserError(
            f'the last checkpoint of {self.workdir} was not written ({reason}):'
            ' make room and start again.'
          )
        self._finish(current, scores)
        return scores

  def _start(self) -> state.TrainState:
    """The newest checkpoint, or a fresh state, born on its devices."""
    init = functools.partial(
      state.init,
      nets=self.nets,
      txs=self.txs,
      num_classes=self.nets.segmenter.num_classes,
    )
    rng = jax.random.key(self.config.seed)
    abstract = jax.eval_shape(init, rng)
    _describe(self.config, abstract, self.mesh)
    if self.checkpoints.latest_step() is not None:
      abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
          x.shape, x.dtype, sharding=self.replicated
        ),
        abstract,
      )
      current, _ = self.checkpoints.restore('latest', abstract)
      say(f'continuing at step {int(current.step)}')
      return current
    current = jax.jit(init, out_shardings=self.replicated)(rng)
    if self.start:
      current = stages.start_from(current, self.start, self.replicated)
      say(f'starting from {self.init_run}, step {self.start.step}')
    return current

  def _loop(self, current, first, stream):
    """At step i: evaluate, save, then update; all see the same weights."""
    config = self.config
    for i in range(first, config.steps + 1):
      last, scores = i == config.steps, None
      due = i % config.eval_every == 0 and i not in self.log.evaluated
      if last or (due and (i > 0 or self.start)):
        scores = self._evaluate(i, current)
      stopping = self.stop.requested_at(i)
      # What was scored is saved, so that the best one is there afterwards.
      due = scores or i % config.checkpoint_every == 0
      if last or stopping or (due and i > first):
        self._save(i, current, scores)
      if last or stopping:
        break
      batch = next(stream)
      with jax.transfer_guard('disallow'):
        current, measured = self.step(current, batch)
      if i == first or (i + 1) % config.log_every == 0:
        self._log(i + 1, measured)
    if last and scores:
      return current, scores
    say(f'stopped by a signal at step {i}; start again to continue.')
    return current, None

  def _log(self, done, measured):
    measured = jax.device_get(measured)
    in_row = int(measured.pop('skipped_in_row'))
    if in_row >= self.config.max_skipped:
      raise UserError(
        f'training diverged: the gradients of {in_row} steps in a row before '
        f'step {done} were not finite. The checkpoints in {self.workdir} are '
        'from before; lower config.optim.lr or raise config.max_skipped.'
      )
    if done % self.config.log_every == 0:
      self.log.train(done, measured)

  def _evaluate(self, i, current) -> Scores | None:
    """The scores of the weights before step i; None if stopped meanwhile."""
    config, segmenter = self.config, current.segmenter
    batches = experiment.batches_of_eval(self.eval_records, config)
    counts, images = evaluate.count_all(
      self.count,
      segmenter.params,
      segmenter.batch_stats,
      self.stop.until_requested(batches),
      self.put,
    )
    if self.stop.requested:
      return None
    scores = evaluate.score(counts, images, config.classes, config.eval.classes)
    if i == 0:  # what a method gains is measured from here
      evaluate.write_json(self.workdir / START, evaluate.to_json(scores))
    self.log.scores(i, scores)
    self.log.panels(
      i, self.painter.panels(segmenter.params, segmenter.batch_stats)
    )
    self.log.pause()
    return scores

  def _save(self, i, current, scores):
    if self.checkpoints.latest_step() != i:
      metrics = {'miou': scores.headline[1]} if scores else {}
      self.checkpoints.save(i, current, metrics)
    self.log.pause()

  def _finish(self, current, scores):
    """The final figures, then the file that says that the run is done."""
    networks = {}
    if self.start:
      networks[self.init_run.name] = self.start.params, self.start.batch_stats
    after = current.segmenter
    networks[self.workdir.name] = after.params, after.batch_stats
    source = self.streams['source'].records
    self.painter.draw(self.workdir / 'figures', source, networks, scores)
    evaluate.write_json(self.workdir / 'scores.json', evaluate.to_json(scores))


def _describe(config, abstract, mesh) -> None:
  def count(tree):
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))

  kind = mesh.devices.flat[0].device_kind
  say(
    f'{config.method} on {mesh.size} x {kind}, {jax.process_count()} '
    f'process(es), {config.model.dtype}'
  )
  say(
    f'segmenter {count(abstract.segmenter.params):,} parameters, '
    f'discriminators {count(abstract.discriminators.params):,}'
  )
