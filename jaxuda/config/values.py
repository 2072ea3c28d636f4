"""What the values of a config may be: all keys of an experiment, checked."""

from ml_collections import ConfigDict

from jaxuda.config import defaults
from jaxuda.config.flat import flatten
from jaxuda.utils import settings
from jaxuda.utils.errors import UserError

_PARTS = ('labelled', 'pseudo')  # which not every experiment has


def check(config: ConfigDict) -> None:
  """Refuse values that a config key cannot take.

  All experiments' keys, the method's, and those of its encoder and decoder.

  Raises:
    UserError: names the key, and what it may be.
  """
  flat = flatten(config)
  # None of a stage is no level below.
  settings.check_all(
    {k: v for k, v in flat.items() if not k.endswith('_stage')},
    settings_of(config),
  )


def check_whole(config: ConfigDict) -> None:
  """Refuse a config that a file has brought, and that lacks a key.

  So are those of its stages.

  Raises:
    UserError: names the key; or as `check`.
  """
  for key in ('method', 'model.encoder.name', 'model.decoder.name'):
    if not isinstance(_value(config, key), str):
      raise _lacking(key)
  if not isinstance(_value(config, 'loss_weights'), ConfigDict):
    raise _lacking('loss_weights')
  known = settings_of(config)
  there = flatten(config)
  stages = {key: _value(config, key) for key in known if key.endswith('_stage')}
  for key in known:
    if key.partition('.')[0] in _PARTS and key.partition('.')[0] not in config:
      continue
    if key not in there and not isinstance(stages.get(key), ConfigDict):
      raise _lacking(key)
  check(config)
  for stage in stages.values():
    if isinstance(stage, ConfigDict):
      check_whole(stage)


def settings_of(config: ConfigDict) -> dict[str, settings.Setting]:
  """Return the settings of a config's keys, dots for levels.

  Raises:
    UserError: it names a method, an encoder or a decoder that there is not.
  """
  from jaxuda import methods  # late: these import jax
  from jaxuda.models import decoders, encoders

  known = defaults.SETTINGS | methods.load(config.method).settings
  for part, package in (('encoder', encoders), ('decoder', decoders)):
    of_part = package.load(config.model[part].name).SETTINGS
    known |= defaults.below(f'model.{part}', of_part)
  return known


def _value(config, key):
  """Return what stands at a key, None where nothing does."""
  for name in key.split('.'):
    if not isinstance(config, ConfigDict) or name not in config:
      return None
    config = config[name]
  return config


def _lacking(key):
  return UserError(
    f'it lacks {key}, so another version of jaxuda has written it: read it '
    'with that one'
  )
