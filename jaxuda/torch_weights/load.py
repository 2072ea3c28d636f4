"""Networks of an experiment with the weights of PyTorch files."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from jaxuda import experiment, state
from jaxuda.models import deeplab
from jaxuda.torch_weights import files as torch_files
from jaxuda.torch_weights import matching
from jaxuda.torch_weights.matching import Match
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


def load_segmenter(
  config, path: str | pathlib.Path
) -> tuple[experiment.Run, Match]:
  """The segmenter of an experiment with the weights of a file; says the match.

  Args:
    config: an experiment's; its network, and the exceptions `init_unused` and
      `init_fresh`.
    path: a file of tensors.

  Returns:
    The run, whose params lack what the match calls fresh; the match.

  Raises:
    UserError: the file cannot be read, or does not fit the network.
  """
  leaves = dict(_paths(deeplab.abstract(experiment.segmenter(config))))
  found = matching.match(
    {keys[1:]: leaf.shape for keys, leaf in leaves.items()},
    torch_files.read(path),
    path,
    config.init_unused,
    config.init_fresh,
  )
  filled = _nested(
    {
      keys: found.arrays[keys[1:]].astype(leaf.dtype)
      for keys, leaf in leaves.items()
      if keys[1:] in found.arrays
    }
  )
  print0(f'{path}: {found.describe()}')
  _tell_settings(config, path, found.layout.settings)
  run = experiment.from_variables(
    config, filled['params'], filled.get('batch_stats', {}), step=0
  )
  return run, found


def _tell_settings(config, path, settings):
  """Says what no shape tells: a network of another geometry or input."""
  for key, value in settings.items():
    if config.model[key] != value:
      print0(
        f'note: {path} is for model.{key}={value}; the config has '
        f'{config.model[key]}.'
      )


def load_discriminators(config) -> dict[str, dict]:
  """{discriminator: params} of what `config.discriminator.init` names.

  A run, one file for all (FADA's), or NAME=FILE,NAME=FILE.

  Raises:
    UserError: no such discriminator, or one that does not fit.
  """
  init = config.discriminator.init
  if not init:
    return {}
  wanted = state.abstract(*experiment.build(config)).discriminators.params
  if not wanted:
    raise UserError(
      f'config.discriminator.init={init}: method {config.method} has no '
      'discriminators.'
    )
  if pathlib.Path(init).is_dir():
    found = experiment.load_discriminators(init)
    if _shapes(found) != _shapes(wanted):
      raise UserError(
        f"config.discriminator.init: {init}'s discriminators are others than "
        "this experiment's."
      )
    return found
  files = dict(item.partition('=')[::2] for item in init.split(','))
  if not files.keys() <= wanted.keys():
    files = {}
    if torch_files.is_weights_file(init) and len(wanted) == 1:
      files = dict.fromkeys(wanted, init)
  if not files:
    names = ','.join(f'{name}=FILE' for name in wanted)
    raise UserError(
      f'config.discriminator.init={init} is no run and not {names}.'
    )
  return {k: _load_discriminator(wanted[k], path) for k, path in files.items()}


def _load_discriminator(abstract, path):
  found = matching.match(
    _shapes(abstract), torch_files.read(path), path, part='discriminator'
  )
  print0(f'{path}: {found.describe()}')
  return _nested(found.arrays)


def _paths(tree):
  """(path of names, leaf) of nested dicts."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    yield tuple(key.key for key in path), leaf


def _shapes(tree):
  return {path: leaf.shape for path, leaf in _paths(tree)}


def _nested(leaves: Mapping[tuple[str, ...], Any]) -> dict:
  """Nested dicts of leaves by path."""
  tree = {}
  for (*parents, last), leaf in leaves.items():
    node = tree
    for name in parents:
      node = node.setdefault(name, {})
    node[last] = leaf
  return tree
