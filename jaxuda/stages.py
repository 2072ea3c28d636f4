"""Chains of experiments: a run that starts from another run's weights."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp

from jaxuda import config as config_lib
from jaxuda import runs, state
from jaxuda.errors import UserError
from jaxuda.log import say
from jaxuda.models import deeplab
from jaxuda.scores import Scores, from_json, table

START = 'start_scores.json'  # of the network that a run starts from


def first_stage(config) -> str | None:
  """The config page that `config.init` names, with this run's seed.

  None where it names nothing or a folder.
  """
  if not config.init or '.py' not in config.init:
    return None
  if 'seed=' in config.init:
    return config.init
  separator = ',' if ':' in config.init else ':'
  return f'{config.init}{separator}seed={config.seed}'


def init_workdir(config, workdir: pathlib.Path) -> pathlib.Path | None:
  """The folder of the run whose weights this one starts from, or None."""
  if not config.init:
    return None
  spec = first_stage(config)
  if spec is None:
    return pathlib.Path(config.init)
  return workdir.parent / config_lib.run_name(spec)


def read_scores(
  workdir: pathlib.Path, name: str = 'scores.json'
) -> Scores | None:
  """The final (or other) scores of a run, None where there are none."""
  path = workdir / name
  if not path.is_file():
    return None
  return from_json(json.loads(path.read_text()))


def find_start(
  workdir: pathlib.Path | None, net: deeplab.DeepLabV2, resumed: bool
) -> runs.Run | None:
  """The run that another one starts from, None if it starts from nothing.

  Args:
    workdir: of init_workdir.
    net: the segmenter.
    resumed: whether training goes on from a checkpoint. The start then is only
      drawn beside it: one that is gone is said and left out.

  Raises:
    UserError: as load_start, where the start is needed.
  """
  if workdir is None:
    return None
  try:
    return load_start(workdir, net)
  except UserError as e:
    if not resumed:
      raise
    say(f'the figures leave out what the run started from: {e}')
    return None


def load_start(workdir: pathlib.Path, net: deeplab.DeepLabV2) -> runs.Run:
  """The run that another one, of the segmenter `net`, starts from.

  Raises:
    UserError: not a run, or its network differs; names the first difference.
  """
  run = runs.load(workdir)
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
  variables = jax.eval_shape(
    functools.partial(net.init, train=False), jax.random.key(0), image
  )
  ours = jax.tree_util.tree_leaves_with_path({'batch_stats': {}, **variables})
  theirs = dict(
    jax.tree_util.tree_leaves_with_path(
      {'params': run.params, 'batch_stats': run.batch_stats}
    )
  )
  for path, leaf in ours:
    shape = getattr(theirs.pop(path, None), 'shape', None)
    if shape != leaf.shape:
      raise UserError(
        f'config.init: {_name(path)} is {leaf.shape} here and '
        f'{shape or "missing"} in {workdir}.'
      )
  if theirs:
    raise UserError(
      f'config.init: {workdir} also has {_name(next(iter(theirs)))}.'
    )
  return run


def _name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def start_from(
  current: state.TrainState, run: runs.Run, sharding: jax.sharding.Sharding
) -> state.TrainState:
  """Replaces the segmenter's weights by those of another run.

  Optimizers and discriminators start afresh, as in FADA's stages.
  """
  player = current.segmenter
  params, batch_stats = jax.device_put((run.params, run.batch_stats), sharding)
  return current.replace(
    segmenter=player.replace(params=params, batch_stats=batch_stats)
  )


def conclude(
  workdir: pathlib.Path, scores: Scores, init_run: pathlib.Path | None
) -> None:
  """Says the table, where the pictures are, and the headline."""
  columns = {workdir.name: scores}
  before = read_scores(workdir, START)
  if before:
    columns = {init_run.name: before} | columns
  say('\n' + table(columns) + '\n')
  for path in sorted((workdir / 'figures').glob('*.png')):
    say(f'figure: {path}')
  name, value = scores.headline
  line = f'{name} {100 * value:.1f} (last checkpoint, {scores.images} images)'
  if before:
    line += f'; {100 * before.headline[1]:.1f} at its start, {init_run.name}'
  say(line)
