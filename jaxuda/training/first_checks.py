"""What is refused at once, before jax and TensorFlow take their seconds.

Names alone are looked at: of datasets, of their splits, of files. All else is
checked later (checks.py, train.py), with the same sentences.
"""

import pathlib

from jaxuda import config as config_lib
from jaxuda.datasets import own, prepare, specs
from jaxuda.utils.errors import UserError

_NEEDED = ('source', 'eval')  # by every run; whether others are, methods know
_PARTS = ('source', 'target', 'labelled', 'eval')
_WEIGHTS = ('.pth', '.pt', '.safetensors')


def check(config, key: str = 'config') -> None:
  """Refuse names of what is not there, of a config and its stages.

  Args:
    config: an experiment's.
    key: by which messages name it.

  Raises:
    UserError: names the key, and the nearest that there is.
  """
  for part in _PARTS:
    if part in config and config[part].name:
      _check_dataset(config, part, key)
  if config.init and pathlib.Path(config.init).suffix in _WEIGHTS:
    path = pathlib.Path(config.init).expanduser()
    if not path.is_file():
      raise UserError(f'{key}.init={config.init}: {path} does not exist.')
  for name, stage in config_lib.stages(config).items():
    check(stage, f'{key}.{name}')


def _check_dataset(config, part, key):
  s = config[part]
  if own.is_own(s.name):
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
