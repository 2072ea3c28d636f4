"""A training with the stages before it; only orchestration."""

import contextlib
import pathlib
from typing import NamedTuple

import jax

from jaxuda import checkpoints, methods
from jaxuda import config as config_lib
from jaxuda.evaluation import scores as scores_lib
from jaxuda.input import from_config
from jaxuda.pseudo_labels import writer
from jaxuda.reports import page
from jaxuda.torch_weights import load
from jaxuda.training import checks, disk, loop, own_data, stages
from jaxuda.training import workdir as workdir_lib
from jaxuda.training.watchdog import Watchdog
from jaxuda.utils import lock, sharding, signals
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


def train(config, workdir: pathlib.Path, profile: bool = False) -> int:
  """Train an experiment in `workdir`, or continue it there.

  The stages before it are trained first, in folders of their own beside
  `workdir`, unless they are there already or not needed any more, as `workdir`
  has checkpoints of its own, or a stream's pseudo labels are made.

  Args:
    config: the experiment's.
    workdir: the run's folder.
    profile: whether some of its steps are profiled; of stages none are.

  Returns:
    The exit status: 0 at the end; 128 + the number of a signal that stopped it.

  Raises:
    UserError: see the modules that are called; nothing is written then.
  """
  workdir = pathlib.Path(workdir)
  own_data.settle(config, config_lib.read_stored(workdir))
  mesh = sharding.make_mesh()
  # What is wrong or missing is told before anything is trained.
  _check(config, mesh)
  stored = config_lib.to_json(config)
  workdir_lib.check_config(workdir, stored)
  run, scores = None, scores_lib.read(workdir / 'scores.json')
  if scores is None:
    run, status = _prepare(config, workdir, mesh)
    if status:
      return status
  watchdog = Watchdog(workdir, config.stuck_after)
  with watchdog, workdir_lib.open_workdir(workdir, stored):
    if run:
      with signals.StopSignal() as stop:
        scores = run.train(stop, watchdog, profile)
      if scores is None:
        return stop.status
    if jax.process_index() == 0:
      _write_report(workdir)
  stages.print_summary(workdir, scores, config)
  return 0


def _write_report(workdir):
  """Write the run's page where there is none; without it, it is done, too."""
  path = workdir / 'report.html'
  try:
    if not path.exists():
      page.write([workdir], path)
  except UserError as e:
    print0(f'no report: {e}')


def _check(config, mesh, key='config'):
  """Check an experiment and all stages before it; errors name their keys."""
  try:
    checks.check(config, mesh)
  except UserError as e:
    raise UserError(str(e).replace('config.', f'{key}.')) from e
  for name, stage in config_lib.stages(config).items():
    _check(stage, mesh, f'{key}.{name}')


class _Read(NamedTuple):
  """What a run reads, and what is there only after stages before it.

  Attributes:
    opened: of from_config.open_inputs.
    labels: {stream: folder} of pseudo labels that are yet to be made.
    stages: the experiments to train before, unless they are trained already.
  """

  opened: tuple
  labels: dict[str, pathlib.Path]
  stages: list


def _open(config, workdir, mesh) -> _Read:
  """Open what a run reads; and what its stages will read.

  Raises:
    UserError: something is not there, a term of a loss is not weighed, or
      there is no room for checkpoints.
  """
  streams = methods.load(config.method).streams
  labels = stages.pseudo_label_dirs(config, streams, workdir)
  resumed = bool(checkpoints.steps(workdir / 'checkpoints'))
  opened = from_config.open_inputs(config, streams, labels, resumed)
  disk.check_room(config, workdir)
  missing = {s: d for s, d in labels.items() if d and not d.is_dir()}
  if not missing:
    loop.check_terms(config, mesh, opened[0])
  before = [config[s].labels_stage for s in missing if not config[s].labels]
  if not (config.init or resumed):
    before.insert(0, config.init_stage)
  before = [stage for stage in before if stage is not None]
  for stage in before:
    folder = stages.stage_dir(stage, workdir)
    if not scores_lib.read(folder / 'scores.json'):
      _open(stage, folder, mesh)
  return _Read(opened, missing, before)


def _prepare(config, workdir, mesh):
  """Return a run whose stages are trained, and 0; or None, and a status."""
  read, d_start = _open(config, workdir, mesh), {}
  if not checkpoints.steps(workdir / 'checkpoints'):
    d_start = load.load_discriminators(config)
  for stage in read.stages:
    if status := _train_stage(stage, workdir):
      return None, status
  for stream, folder in read.labels.items():
    writer.make_for(config, stream, folder)
  if read.labels:
    read = _open(config, workdir, mesh)
  return loop.Run(config, workdir, mesh, read.opened, d_start), 0


def _train_stage(stage, workdir) -> int:
  """Train a stage of the run in `workdir`, unless that is done; exit status.

  Another run that has the same stage, and trains it now, is waited for.
  """
  folder = stages.stage_dir(stage, workdir)
  with contextlib.ExitStack() as stack:
    if jax.process_index() == 0:
      waiting = f'{folder}: waiting for another run that trains this stage'
      path = folder.with_name(f'.{folder.name}.lock')
      stack.enter_context(lock.hold(path, lambda: print0(waiting)))
    sharding.barrier('stage')
    if scores_lib.read(folder / 'scores.json'):
      # How it was scored is no matter to what goes on from it.
      stored = config_lib.to_json(stage)
      workdir_lib.check_config(folder, stored, may_change=('eval',))
      return 0
    print0(f'stage: {stage.name} in {folder}')
    status = train(stage, folder)
    if not status:
      print0(f'\nstage done; now {workdir}')
    return status
