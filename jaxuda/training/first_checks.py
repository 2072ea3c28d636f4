"""What is refused at once, before jax and TensorFlow take their seconds.

Names alone are looked at: of datasets, of their splits, of files. All else is
checked later (checks.py, own_data.py, train.py).
"""

import os
import pathlib

from jaxuda import config as config_lib
from jaxuda.datasets import own, prepare, specs
from jaxuda.utils.errors import UserError

_NEEDED = ('source', 'eval')  # by every run; whether others are, methods know
_PARTS = ('source', 'target', 'labelled', 'eval')
_WEIGHTS = ('.pth', '.pt', '.safetensors')


def check(config, workdir: pathlib.Path) -> None:
  """Refuse names of what is not there, of a config and its stages.

  A run that has begun needs no more what it began from.

  Args:
    config: an experiment's.
    workdir: the run's folder.

  Raises:
    UserError: names the key, and the nearest that there is.
  """
  begun = (workdir / 'config.json').is_file()
  if config.init and pathlib.Path(config.init).suffix in _WEIGHTS and not begun:
    path = pathlib.Path(config.init).expanduser()
    if not path.is_file():
      raise UserError(f'config.init={config.init}: {path} does not exist.')
  _check_datasets(config, begun, 'config')


def _check_datasets(config, begun, key):
  for part in _PARTS:
    if part in config and config[part].name:
      _check_dataset(config, part, begun, key)
  for name, stage in config_lib.stages(config).items():
    _check_datasets(stage, begun, f'{key}.{name}')


def _check_dataset(config, part, begun, key):
  s = config[part]
  if own.is_own(s.name):
    if begun and not os.path.exists(own.path(s.name)):
      return  # what was prepared of it is what there is
    described, name = own.describe(own.absolute(s.name)), s.name
  else:
    name, _ = specs.split_spec(s.name)
    described = specs.module(name)
  splits = list(described.COUNTS)
  if s.split not in splits and not s.get('labels'):
    raise UserError(
      f'{key}.{part}.split: {s.name} has no split {s.split!r}; it has '
      f'{", ".join(splits)}.'
    )
  if part in _NEEDED and described.NEEDS_RAW and not own.is_own(s.name):
    prepare.ensure(s.name, s.size, config.data_dir)
