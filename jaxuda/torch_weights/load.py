"""Networks of an experiment, filled with the weights of PyTorch files."""

import os
import pathlib

from flax import traverse_util

from jaxuda import experiment
from jaxuda.models import segmenter
from jaxuda.torch_weights import files as torch_files
from jaxuda.torch_weights import matching
from jaxuda.utils import names
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


def load_segmenter(
  config, path: str | os.PathLike
) -> tuple[experiment.Run, matching.Match]:
  """Return an experiment's segmenter with a file's weights; print the match.

  Args:
    config: an experiment's; its network, and the exceptions `init_unused` and
      `init_fresh`.
    path: a file of tensors.

  Returns:
    The run, whose params lack what the match lists as fresh; the match.

  Raises:
    UserError: the file cannot be read, or does not fit the network.
  """
  abstract = segmenter.abstract(experiment.segmenter(config))
  leaves = traverse_util.flatten_dict(abstract)
  found = matching.match(
    {keys[1:]: leaf.shape for keys, leaf in leaves.items()},
    torch_files.read(path),
    path,
    config.init_unused,
    config.init_fresh,
  )
  filled = traverse_util.unflatten_dict(
    {
      keys: found.arrays[keys[1:]].astype(leaf.dtype)
      for keys, leaf in leaves.items()
      if keys[1:] in found.arrays
    }
  )
  print0(f'{path}: {found.describe()}')
  _print_settings(config, path, found.layout.settings)
  run = experiment.from_variables(
    config, filled['params'], filled.get('batch_stats', {}), step=0
  )
  return run, found


def _print_settings(config, path, settings):
  """Print what no shape shows: a network of another geometry or input."""
  for key, wanted in settings.items():
    node = config.model
    for name in key.split('.'):
      node = node.get(name) if node is not None else None
    if node is not None and node != wanted:
      print0(
        f'note: {path} is for model.{key}={wanted}; the config has {node}.'
      )


def load_discriminators(config) -> dict[str, dict]:
  """Return {discriminator: params} of what `config.discriminator.init` names.

  That is a run, one file for all (FADA's), or NAME=FILE,NAME=FILE.

  Raises:
    UserError: there is no such discriminator, or one does not fit. One that is
      not named is reported.
  """
  init = config.discriminator.init
  if not init:
    return {}
  wanted = experiment.abstract_state(config).discriminators.params
  if not wanted:
    raise UserError(
      f'config.discriminator.init={init}: method {config.method} has no '
      'discriminators.'
    )
  if pathlib.Path(init).is_dir():
    found = experiment.load_discriminators(init)
    if _shapes(found) != _shapes(wanted):
      raise UserError(
        f"config.discriminator.init: {init}'s discriminators differ from "
        "this experiment's."
      )
    return found
  files = _discriminator_files(init, wanted)
  if left := ', '.join(wanted.keys() - files.keys()):
    print0(
      f'note: config.discriminator.init={init} names no file for {left}, which '
      'starts from random weights.'
    )
  return {k: _load_discriminator(wanted[k], path) for k, path in files.items()}


def _discriminator_files(init, wanted):
  """Return {discriminator: path} of a setting that is no run."""
  is_path = '=' not in init or pathlib.Path(init).is_file()
  if is_path and torch_files.is_weights_file(init) and len(wanted) == 1:
    return dict.fromkeys(wanted, init)
  pairs = [item.partition('=')[::2] for item in init.split(',')]
  files = dict(pairs)
  if not all(files.values()) or len(files) < len(pairs):
    forms = ','.join(f'{name}=FILE' for name in wanted)
    raise UserError(
      f'config.discriminator.init={init} is neither a run nor {forms}.'
    )
  for name in files.keys() - wanted.keys():
    raise UserError(
      f'config.discriminator.init={init}: this experiment has no discriminator '
      f'{name!r}{names.nearest(name, wanted)}'
    )
  return files


def _load_discriminator(abstract, path):
  found = matching.match(
    _shapes(abstract), torch_files.read(path), path, part='discriminator'
  )
  print0(f'{path}: {found.describe()}')
  return traverse_util.unflatten_dict(found.arrays)


def _shapes(tree):
  leaves = traverse_util.flatten_dict(tree)
  return {path: leaf.shape for path, leaf in leaves.items()}
