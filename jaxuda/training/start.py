"""What a run starts from: another run, a PyTorch file, or random weights."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np

from jaxuda import checkpoints, experiment, state
from jaxuda.config import loading as config_lib
from jaxuda.models import deeplab, norm
from jaxuda.torch_weights import files as torch_files
from jaxuda.torch_weights import load
from jaxuda.utils import files
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


def find_start(
  workdir: pathlib.Path | None, config, resumed: bool
) -> experiment.Run | None:
  """The run that another one starts from, None if it starts from nothing.

  Args:
    workdir: of `folder`.
    config: of the run that starts.
    resumed: whether training goes on from a checkpoint. The start then is only
      drawn beside it: one that is gone is said and left out.

  Raises:
    UserError: as load_start, where the start is needed.
  """
  if workdir is None:
    return None
  try:
    return load_start(workdir, config)
  except UserError as e:
    if not resumed:
      raise
    print0(f'the figures leave out what the run started from: {e}')
    return None


def load_start(path: pathlib.Path, config) -> experiment.Run:
  """What another run, of `config`, starts from: a run, or a PyTorch file.

  The params of a file may lack what is drawn afresh, such as the heads.

  Raises:
    UserError: neither, or its network differs; names the difference.
  """
  if torch_files.is_weights_file(path):
    return load.load_segmenter(config, path)[0]
  return _load_run(path, config)


def _load_run(workdir, config):
  """A run whose network is that of `config`, but for the norms' counters."""
  run = experiment.load(workdir)
  taken = fitted(leaves(variables(run)), config, workdir)
  for key in ('style', 'pixels', 'dilations', 'live_branches'):
    # None of a run of a version that did not have this setting.
    before, now = run.config.model.get(key), config.model[key]
    if before != now:
      print0(f'note: {workdir} has model.{key}={before}; the config has {now}.')
  return dataclasses.replace(
    run, params=taken['params'], batch_stats=taken['batch_stats']
  )


def fitted(theirs, config, where):
  """The variables of a network, by path, as the tree that a config has."""

  def take(path, leaf):
    found = theirs.pop(path, None)
    if found is None and path[-1].key == norm.COUNTER:
      return np.zeros((), np.int32)  # that run's norm is fixed
    if found is None or found.shape != leaf.shape:
      there = 'missing' if found is None else found.shape
      raise UserError(
        f'config.init: {_name(path)} is {leaf.shape} here and {there} in '
        f'{where}.'
      )
    return found

  abstract = deeplab.abstract(experiment.segmenter(config))
  taken = jax.tree_util.tree_map_with_path(take, abstract)
  left = [path for path in theirs if path[-1].key != norm.COUNTER]
  if left:
    raise UserError(f'config.init: {where} also has {_name(left[0])}.')
  return taken


def _name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def variables(run: experiment.Run) -> dict:
  """The segmenter's variables of a run, as flax has them."""
  return {'params': run.params, 'batch_stats': run.batch_stats}


def is_complete(run: experiment.Run) -> bool:
  """Whether nothing of a start is drawn afresh."""
  ours = deeplab.abstract(experiment.segmenter(run.config))
  return set(leaves(ours)) == set(leaves(variables(run)))


def begin(
  seed: int,
  nets,
  txs,
  run: experiment.Run | None,
  d_params: dict,
  sharding=None,
) -> state.TrainState:
  """A fresh state on its devices, with the weights that are given.

  What is not given is drawn; optimizers start afresh, as in FADA's stages.

  Args:
    seed: of what is drawn.
    nets, txs: of the run.
    run: what the segmenter starts from, or None.
    d_params: {discriminator: params}.
    sharding: of all arrays.
  """
  init = functools.partial(state.init, nets=nets, txs=txs)
  known = variables(run) if run and is_complete(run) else None
  current = jax.jit(init, out_shardings=sharding)(
    jax.random.key(seed), variables=known
  )
  seg, d = current.segmenter, current.discriminators
  if run and known is None:
    seg = seg.replace(
      params=_replace(seg.params, run.params),
      batch_stats=_replace(seg.batch_stats, run.batch_stats),
    )
  return current.replace(
    segmenter=seg,
    discriminators=d.replace(params=_replace(d.params, d_params)),
  )


def _replace(tree, new):
  """A tree with the leaves that `new` has, by path, on the same devices."""
  known = leaves(new)

  def leaf(path, old):
    return jax.device_put(known[path], old.sharding) if path in known else old

  return jax.tree_util.tree_map_with_path(leaf, tree)


def leaves(tree) -> dict:
  return dict(jax.tree_util.tree_leaves_with_path(tree))


def import_file(path: pathlib.Path, config, workdir: pathlib.Path) -> None:
  """Makes a run of a file, at step 0, with what it lacks drawn afresh.

  Raises:
    UserError: `workdir` holds something, or the file does not fit.
  """
  if workdir.exists() and not (workdir.is_dir() and not any(workdir.iterdir())):
    raise UserError(f'{workdir} is not empty: choose another --workdir.')
  with config.unlocked(), config.ignore_type():
    config.init = str(path)
  run, _ = load.load_segmenter(config, path)
  d_params = load.load_discriminators(config)
  current = begin(config.seed, *experiment.build(config), run, d_params)
  files.write_json(workdir / 'config.json', config_lib.to_json(config))
  with checkpoints.Checkpoints(workdir / 'checkpoints') as written:
    written.save(0, current)
  for reason in written.failed.values():
    raise UserError(f'{workdir} could not be written ({reason}).')
  print(f'run: {workdir}')
