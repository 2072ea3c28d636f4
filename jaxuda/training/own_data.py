"""What a config leaves open of users' own data, settled before training.

Paths become absolute, sizes are chosen from the images, and what is mixed is
cropped alike, so that config.json says all of it.
"""

import os
from collections.abc import Mapping
from typing import Any

from jaxuda import config as config_lib
from jaxuda.datasets import own, specs
from jaxuda.datasets import stored as stored_lib
from jaxuda.labels import tables
from jaxuda.models import segmenter
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

STREAMS = ('source', 'target', 'labelled')
_GRID = 16  # sides are multiples of it, unless an encoder wants another one


def settle(config, stored: Mapping[str, Any]) -> None:
  """Settle a config and all its stages; print what was chosen.

  Args:
    config: an experiment's.
    stored: of config.read_stored: what was chosen when its run was started
      stays, whatever images have come since.

  Raises:
    UserError: the target is not named, is not there, or is not what is scored;
      or labels are needed that are not there.
  """
  with config.unlocked(), config.ignore_type():
    _settle(config, stored)


def _settle(config, stored, above=None):
  if above is not None and not config.target.name:
    for part in ('target', 'eval'):  # of the run that the stage is for
      _take(config[part], above[part])
  if not config.target.name:
    raise UserError(
      'config.target.name is empty: name a folder of images with '
      '--config.target.name=folder:PATH, or a dataset.'
    )
  streams = [name for name in STREAMS if name in config]
  for name in streams:  # labelled images are the target's, unless it is said
    if not config[name].name:
      _take(config[name], config.target)
  read = streams + ['eval'] * bool(config.eval.name)
  for part in map(config.get, read):
    if own.is_own(part.name):
      part.name = own.absolute(part.name)
  for part in (config, config.eval):
    if part.classes and tables.is_file(part.classes):
      part.classes = own.absolute(part.classes)
  _check_scored(config)
  for name in read:
    _keep_size(config, name, stored)
    _check_labels(config, name)
  for name in read:
    _choose_size(config, name)
  if (
    'mix' in config or 'fourier' in config
  ):  # which pair images of both domains
    config_lib.crop_alike(config)
  for key, stage in config_lib.stages(config).items():
    inner = {
      name.removeprefix(f'{key}.'): value
      for name, value in stored.items()
      if name.startswith(f'{key}.')
    }
    _settle(stage, inner, config)


def _take(part, other):
  """Let a stream, or what is scored, be another one's images."""
  for key in ('name', 'split', 'size'):
    part[key] = other[key]


def _check_scored(config):
  """Refuse to score another domain than a user's own target."""
  target, scored = config.target.name, config.eval.name
  if not own.is_own(target) or scored is None or own.is_own(scored):
    return
  raise UserError(
    f'config.eval.name={scored} is another domain than the target, {target}: '
    'give --config.eval.name=None, or a file that describes labelled images of '
    'the target, --config.eval.name=PATH.toml.'
  )


def _keep_size(config, key, stored):
  """Take the size that was chosen when the run was started."""
  part = config[key]
  if part.size is None and stored.get(f'{key}.name') == part.name:
    size = stored[f'{key}.size']
    part.size = size and tuple(size)


def _check_labels(config, key):
  """Refuse own data without the split that is read, or without its labels."""
  part = config[key]
  if not own.is_own(part.name):
    return
  if part.size is not None and not os.path.exists(own.path(part.name)):
    return  # what was prepared of it is what there is
  splits = own.describe(part.name).splits
  if part.split not in splits:
    raise UserError(
      f'config.{key}.split={part.split}: {part.name} has no such split'
      f'{nearest(part.split, splits)}'
    )
  made = part.get('labels') or part.get('labels_stage')
  if key == 'target' or made or splits[part.split][1]:
    return
  reads = 'a score' if key == 'eval' else config.method
  raise UserError(
    f'config.{key}.name={part.name} has no labels in its split {part.split}, '
    f'and {reads} needs them: describe labelled images in a TOML file and name '
    f'it, --config.{key}.name=PATH.toml (docs/add_a_dataset.md).'
  )


def _choose_size(config, key):
  """Choose the size of own images where the config says none."""
  part, target = config[key], config.target
  if not own.is_own(part.name) or part.size is not None:
    return
  if key != 'target' and part.name == target.name and target.size is not None:
    part.size = target.size
    return
  like = _like(config)
  if like is None:
    raise UserError(
      f'config.{key}.size is open, and so are the others: give '
      '--config.target.size=HEIGHTxWIDTH.'
    )
  divisor = segmenter.sides_divide_by(config)
  divisor = _GRID if divisor == 1 else divisor
  size, count, others = own.choose_size(part.name, part.split, like, divisor)
  part.size = size
  text = (
    f'{key}: {part.name} at {specs.size_name(size)}, the shape of most '
    f'({count:,} were looked at), with as many pixels as '
    f'{specs.size_name(like)}'
  )
  if others:
    text += f'; {others:,} of another shape are stretched'
  print0(f'{text} (config.{key}.size)')


def _like(config):
  """Return a size that is known, of the experiment or of one before it."""
  before = map(_like, config_lib.stages(config).values())
  known = (config.source.size, config.target.size, *before)
  return next(filter(None, known), None)


def fingerprints(streams: Mapping[str, Any]) -> dict[str, str]:
  """Return {folder: fingerprint} of what is prepared of own data, and read.

  Args:
    streams: a name to each Stream.
  """
  folders = {stream.records.path for stream in streams.values()}
  found = {
    str(folder): stored_lib.metadata(folder).get('fingerprint')
    for folder in sorted(folders)
  }
  return {folder: known for folder, known in found.items() if known}


def refuse_changed(now: Mapping[str, str], noted: Mapping[str, str]) -> None:
  """Refuse to go on with own data that was prepared again meanwhile.

  Args:
    now: of `fingerprints`.
    noted: the same of when the run was saved; what is not noted passes.

  Raises:
    UserError: names the folder.
  """
  for folder, found in now.items():
    if noted.get(folder, found) != found:
      raise UserError(
        f'{folder} was prepared again since this run was begun, from other '
        f'files: put those files back and delete {folder}, or give another '
        '--workdir.'
      )
