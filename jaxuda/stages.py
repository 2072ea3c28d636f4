"""Chains of experiments: a run that starts from another run's weights."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

import data
from data import stored
from jaxuda import checkpoint, pseudo, runs, state, torch_files, weights
from jaxuda import config as config_lib
from jaxuda.errors import UserError
from jaxuda.log import say
from jaxuda.models import deeplab, norm
from jaxuda.scores import Scores, from_json, table

START = 'start_scores.json'  # of the network that a run starts from


def page(named: str | None, seed: int) -> str | None:
  """The config page that a setting such as `init` names, with a run's seed.

  None where it names nothing or a folder.
  """
  path, arg = config_lib.parse_spec(named or '')
  if not path.endswith('.py'):
    return None
  if config_lib.given(arg, 'seed'):
    return named
  separator = ',' if ':' in named else ':'
  return f'{named}{separator}seed={seed}'


def folder(
  named: str | None, seed: int, workdir: pathlib.Path
) -> pathlib.Path | None:
  """The folder that a setting such as `init` names, None for nothing.

  That of a config page's run is beside the run in `workdir`.
  """
  if not named:
    return None
  spec = page(named, seed)
  if spec is None:
    return pathlib.Path(named)
  return workdir.parent / config_lib.run_name(spec)


def pseudo_folders(
  config, streams: Sequence[str], workdir: pathlib.Path
) -> dict[str, pathlib.Path | None]:
  """Where the pseudo labels of each stream are or will be; None for none.

  Raises:
    UserError: `labels` names neither such a folder nor what makes one; or they
      are of another checkpoint than a run's last.
  """
  return {s: _pseudo_folder(config, s, workdir) for s in streams}


def _pseudo_folder(config, stream, workdir):
  s = config[stream]
  named = folder(s.labels, config.seed, workdir)
  if named is None or data.is_prepared(named):
    return named
  key = f'config.{stream}.labels={s.labels}'
  is_run = page(s.labels, config.seed) or (named / 'config.json').is_file()
  if not is_run:
    raise UserError(
      f'{key} is neither a folder of pseudo labels nor a run that could make '
      'them.'
    )
  if 'pseudo' not in config:
    raise UserError(
      f'{key} is a run, and this page does not say how it shall make labels: '
      f'`python -m jaxuda.pseudo_label --workdir={named}` does; then name what '
      'it writes.'
    )
  given = config.pseudo.to_dict()
  chosen = pseudo.settings(given.pop('rule'), given)
  made = pseudo.default_folder(named, s.name, s.size, chosen)
  steps = checkpoint.steps(named / 'checkpoints')
  if data.is_prepared(made) and steps:
    step = stored.metadata(made)['pseudo']['step']
    if step != steps[-1]:
      raise UserError(
        f'{made} has the labels of step {step}, and {named} is at step '
        f'{steps[-1]}: delete that folder, and they are made anew, or name it in '
        f'config.{stream}.labels.'
      )
  return made


def read_scores(
  workdir: pathlib.Path, name: str = 'scores.json'
) -> Scores | None:
  """The final (or other) scores of a run, None where there are none."""
  path = workdir / name
  if not path.is_file():
    return None
  return from_json(json.loads(path.read_text()))


def find_start(
  workdir: pathlib.Path | None, config, resumed: bool
) -> runs.Run | None:
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
    say(f'the figures leave out what the run started from: {e}')
    return None


def load_start(path: pathlib.Path, config) -> runs.Run:
  """What another run, of `config`, starts from: a run, or a PyTorch file.

  The params of a file may lack what is drawn afresh, such as the heads.

  Raises:
    UserError: neither, or its network differs; names the difference.
  """
  if torch_files.is_weights_file(path):
    return weights.load_segmenter(config, path)[0]
  return _load_run(path, config)


def _load_run(workdir, config):
  """A run whose network is that of `config`, but for the norms' counters."""
  run = runs.load(workdir)
  taken = _fitted(_leaves(variables(run)), config, workdir)
  for key in ('style', 'pixels', 'dilations', 'live_branches'):
    # None of a run of a version that did not have this setting.
    before, now = run.config.model.get(key), config.model[key]
    if before != now:
      say(f'note: {workdir} has model.{key}={before}; the config has {now}.')
  return dataclasses.replace(
    run, params=taken['params'], batch_stats=taken['batch_stats']
  )


def check_labels(config, streams: Sequence[str]) -> None:
  """Refuses labels by a network that started, or was trained, otherwise.

  Raises:
    UserError: a page that the target's `labels` names was trained on another
      variant of the config's source, the images as they are or translated; or
      one that a stream's names has no `init`, nor have the pages before it, and
      the config's is a file of weights.
  """
  ours = config.source.name
  for stream in streams:
    named = root = config[stream].labels
    if not page(named, config.seed):
      continue
    theirs = config_lib.load(named).source.name
    same_dataset = theirs.partition('/')[0] == ours.partition('/')[0]
    # A source with pseudo labels is the other run's target, as FADA's third stage.
    if stream != 'source' and same_dataset and theirs != ours:
      raise UserError(
        f'config.{stream}.labels={named} is trained on {theirs}, and this run '
        f'on {ours}: name it with the same, as '
        f'{stream}.labels=({named},source.name={ours}).'
      )
    if not torch_files.is_weights_file(config.init or ''):
      continue
    while page(root, config.seed):
      root = config_lib.load(root).init
    if root is None:
      raise UserError(
        f'config.{stream}.labels={named} starts from random weights, and this '
        f'run from {config.init}: name it with its own, as '
        f'{stream}.labels=({named},init={config.init}).'
      )


def check_page(named: str | None, config) -> None:
  """Refuses a page, as `init`, before it is trained for nothing.

  Raises:
    UserError: its network is another one than the config's.
  """
  if spec := page(named, config.seed):
    theirs = deeplab.abstract(runs.segmenter(config_lib.load(spec)))
    _fitted(_leaves(theirs), config, spec)


def _fitted(theirs, config, where):
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

  abstract = deeplab.abstract(runs.segmenter(config))
  taken = jax.tree_util.tree_map_with_path(take, abstract)
  left = [path for path in theirs if path[-1].key != norm.COUNTER]
  if left:
    raise UserError(f'config.init: {where} also has {_name(left[0])}.')
  return taken


def _name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def variables(run: runs.Run) -> dict:
  """The segmenter's variables of a run, as flax has them."""
  return {'params': run.params, 'batch_stats': run.batch_stats}


def is_complete(run: runs.Run) -> bool:
  """Whether nothing of a start is drawn afresh."""
  ours = deeplab.abstract(runs.segmenter(run.config))
  return set(_leaves(ours)) == set(_leaves(variables(run)))


def begin(
  seed: int, nets, txs, run: runs.Run | None, d_params: dict, sharding=None
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
  leaves = _leaves(new)

  def leaf(path, old):
    return jax.device_put(leaves[path], old.sharding) if path in leaves else old

  return jax.tree_util.tree_map_with_path(leaf, tree)


def _leaves(tree) -> dict:
  return dict(jax.tree_util.tree_leaves_with_path(tree))


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
