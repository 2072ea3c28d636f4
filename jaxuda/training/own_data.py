"""What a config leaves open of users' own data, settled before training.

Paths become absolute, sizes are chosen from the images, and what is mixed is
cropped alike, so that config.json says all of it.
"""

from jaxuda import config as config_lib
from jaxuda.datasets import own, specs
from jaxuda.labels import tables
from jaxuda.models import segmenter
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError

STREAMS = ('source', 'target', 'labelled')
_GRID = 16  # sides are multiples of it, unless an encoder wants another one


def settle(config) -> None:
  """Settle a config and all its stages; print what was chosen.

  Raises:
    UserError: the target is not named, is not there, or is not what is scored.
  """
  with config.unlocked(), config.ignore_type():
    _settle(config)


def _settle(config, above=None):
  if above is not None and not config.target.name:
    for part in ('target', 'eval'):  # of the run that the stage is for
      for key in ('name', 'split', 'size'):
        config[part][key] = above[part][key]
  streams = [name for name in STREAMS if name in config]
  for part in (*(config[name] for name in streams), config.eval):
    if part.name and own.is_own(part.name):
      part.name = own.absolute(part.name)
  for part in (config, config.eval):
    if part.classes and tables.is_file(part.classes):
      part.classes = own.absolute(part.classes)
  if not config.target.name:
    raise UserError(
      'config.target.name is empty: name a folder of images with '
      '--config.target.name=folder:PATH, or a dataset.'
    )
  _check_scored(config)
  for name in streams:
    _choose_size(config, name)
  if config.eval.name and own.is_own(config.eval.name):
    _choose_size(config, 'eval')
  if 'mix' in config:
    config_lib.crop_alike(config)
  for stage in config_lib.stages(config).values():
    _settle(stage, config)


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


def _choose_size(config, key):
  """Choose the size of own images where the config says none."""
  part = config[key]
  if not own.is_own(part.name) or part.size is not None:
    return
  if key == 'eval' and part.name == config.target.name:
    part.size = config.target.size
    return
  like = config.source.size or config.target.size
  if like is None:
    raise UserError(
      f'config.{key}.size is open, and so are the others: give '
      f'--config.{key}.size=HEIGHTxWIDTH.'
    )
  divisor = segmenter.sides_divide_by(config)
  divisor = _GRID if divisor == 1 else divisor
  size, count, others = own.choose_size(part.name, part.split, like, divisor)
  part.size = size
  text = (
    f'{key}: {part.name} at {specs.size_name(size)}, the shape of most of '
    f'{count:,} images and as many pixels as {specs.size_name(like)}'
  )
  if others:
    text += f'; {others:,} of another shape are stretched'
  print0(f'{text} (config.{key}.size)')
