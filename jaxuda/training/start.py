"""What a run starts from: another run, a PyTorch file, or random weights."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np
from flax import traverse_util
from ml_collections import FrozenConfigDict

from jaxuda import checkpoints, experiment, methods, state
from jaxuda import config as config_lib
from jaxuda.models import norm, segmenter
from jaxuda.torch_weights import files as torch_files
from jaxuda.torch_weights import load, published
from jaxuda.utils import names
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


def find_start(
  path: pathlib.Path | None, config, resumed: bool
) -> experiment.Run | None:
  """Return what a run starts from, None if it starts from nothing.

  Args:
    path: of stages.init_dir.
    config: of the run that starts.
    resumed: whether training goes on from a checkpoint. The start is then only
      drawn beside it: one that is gone is reported and left out.

  Raises:
    UserError: as load_start, where training needs the start.
  """
  if path is None:
    return None
  try:
    return load_start(path, config)
  except UserError as e:
    if not resumed:
      raise
    print0(f'the figures leave out what the run started from: {e}')
    return None


def load_start(path: pathlib.Path, config) -> experiment.Run:
  """Return the run, or the PyTorch file as one, that another run starts from.

  The params of a file may lack what is drawn at random, such as the heads.

  Args:
    path: of a run's folder or of a file.
    config: of the run that starts.

  Raises:
    UserError: it is neither, or its network differs; names the difference.
  """
  if config.init:
    published.find(config.init)  # as it was fetched, where it was
    _check_there(config.init, path)
  if torch_files.is_weights_file(path):
    return load.load_segmenter(config, path)[0]
  return _load_run(path, config)


def _check_there(init, path):
  """Refuse a word that is nothing at all."""
  is_word = path.name == init and not path.suffix
  if is_word and not path.exists():
    hint = names.nearest(init, published.listed())
    raise UserError(
      f'config.init={init} is neither a run nor published weights{hint}'
    )


def check_stage(config) -> None:
  """Refuse a first stage with a different network, before it is trained.

  Raises:
    UserError: names the difference.
  """
  stage = config.init_stage
  if config.init or stage is None:
    return
  if (stage.model, stage.classes) != (config.model, config.classes):
    theirs = segmenter.abstract(experiment.segmenter(stage))
    _fitted(theirs, config, stage.name)


def _load_run(workdir, config):
  """Return a run whose network is that of `config`, but for norm counters."""
  run = experiment.load(workdir)
  taken = _fitted(variables(run), config, workdir)
  before, now = (config_lib.flatten(c.model) for c in (run.config, config))
  # What no shape shows; remat and the like change nothing.
  for key in ('input_norm', 'encoder.variant', 'decoder.dilations'):
    if before.get(key) != now.get(key):
      print0(
        f'note: {workdir} has model.{key}={before.get(key)}; the config has '
        f'{now.get(key)}.'
      )
  return dataclasses.replace(
    run, params=taken['params'], batch_stats=taken['batch_stats']
  )


def _fitted(theirs, config, where):
  """Return the variables of a network as the tree that a config has."""
  key = 'init' if config.init else 'init_stage'
  found = traverse_util.flatten_dict(theirs)
  abstract = segmenter.abstract(experiment.segmenter(config))
  taken = {}
  for path, leaf in traverse_util.flatten_dict(abstract).items():
    array = found.pop(path, None)
    if array is None and path[-1] == norm.COUNTER:
      array = np.zeros((), np.int32)  # that run's norm is fixed
    if array is None or array.shape != leaf.shape:
      there = 'missing' if array is None else array.shape
      raise UserError(
        f'config.{key}: {"/".join(path)} is {leaf.shape} here and {there} in '
        f'{where}.'
      )
    taken[path] = array
  left = [path for path in found if path[-1] != norm.COUNTER]
  if left:
    raise UserError(f'config.{key}: {where} also has {"/".join(left[0])}.')
  return {'batch_stats': {}} | traverse_util.unflatten_dict(taken)


def variables(run: experiment.Run) -> dict:
  """Return the segmenter's variables of a run, as flax has them."""
  return {'params': run.params, 'batch_stats': run.batch_stats}


def constants(
  config,
  run: experiment.Run | None,
  priors: dict,
  sharding,
) -> dict:
  """Return experiment.constants on the devices.

  Args:
    config: of the run that starts, or goes on.
    run: what it starts from.
    priors: of Method.priors.
    sharding: of all arrays.

  Raises:
    UserError: the method compares its encoder with that before training, and
      the run starts from nothing.
  """
  if run is None and methods.load(config.method).compares_with_start(config):
    raise UserError(
      f'config.init is needed, also to go on: {config.method} compares its '
      "encoder with the one that it starts from, as ImageNet's."
    )
  return jax.device_put(experiment.constants(config, run, priors), sharding)


def is_complete(run: experiment.Run) -> bool:
  """Return whether a start has all of the network's variables."""
  ours = segmenter.abstract(experiment.segmenter(run.config))
  paths = (traverse_util.flatten_dict(t) for t in (ours, variables(run)))
  return set(next(paths)) == set(next(paths))


def init_state(
  config,
  run: experiment.Run | None,
  d_params: dict,
  sharding=None,
) -> state.TrainState:
  """Return a new state on its devices, with the weights that are given.

  What is not given is drawn; optimizers start from zero, as in FADA's stages.

  Args:
    config: of the run; what is drawn is drawn with its seed.
    run: what the segmenter starts from, or None.
    d_params: {discriminator: params}.
    sharding: of all arrays.
  """
  known = variables(run) if run and is_complete(run) else None
  init = _jitted_init(FrozenConfigDict(config), sharding)
  current = init(jax.random.key(config.seed), variables=known)
  if run and known is None:
    params = _replaced(current.segmenter.params, run.params)
    stats = _replaced(current.segmenter.batch_stats, run.batch_stats)
    current = current.replace(
      segmenter=current.segmenter.replace(params=params, batch_stats=stats),
      ema=state.teacher_of(params, stats) if current.ema else None,
    )
  d = current.discriminators
  return current.replace(
    discriminators=d.replace(params=_replaced(d.params, d_params))
  )


@functools.cache  # for runs that are started in one process
def _jitted_init(config, sharding):
  nets, txs = experiment.build(config)
  init = functools.partial(state.init, nets=nets, txs=txs)
  return jax.jit(init, out_shardings=sharding)


def _replaced(tree, new):
  """Return a tree with the leaves that `new` has, on the devices of the old."""
  old = traverse_util.flatten_dict(tree)
  placed = {
    path: jax.device_put(array, old[path].sharding)
    for path, array in traverse_util.flatten_dict(new).items()
  }
  return traverse_util.unflatten_dict(old | placed)


def import_file(path: pathlib.Path, config, workdir: pathlib.Path) -> None:
  """Make a run from a PyTorch file, at step 0; what the file lacks is drawn.

  Raises:
    UserError: `workdir` holds something, or the file does not fit.
  """
  if workdir.exists() and not (workdir.is_dir() and not any(workdir.iterdir())):
    raise UserError(f'{workdir} is not empty: choose another --workdir.')
  with config.unlocked(), config.ignore_type():
    config.init = str(path)
  run, _ = load.load_segmenter(config, path)
  d_params = load.load_discriminators(config)
  current = init_state(config, run, d_params)
  config_lib.write_run(workdir, config_lib.to_json(config))
  with checkpoints.Checkpoints(workdir / 'checkpoints') as manager:
    manager.save(0, current)
  for reason in manager.failed.values():
    raise UserError(f'{workdir} could not be written ({reason}).')
  print(f'run: {workdir}')
