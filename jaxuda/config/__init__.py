"""Experiments as config files: load one, override it, store and read it."""

from jaxuda.config.building import (
  add,
  crop_alike,
  experiment,
  parse_arg,
  pseudo,
  stream,
)
from jaxuda.config.flat import flatten
from jaxuda.config.loading import (
  define,
  load,
  parse_flags,
  run_name,
  value,
)
from jaxuda.config.sharing import share, share_value, stages
from jaxuda.config.stored import (
  digest,
  may_change,
  read_file,
  read_run,
  read_stored,
  to_json,
  write_run,
)
from jaxuda.config.values import check as check_values
from jaxuda.config.values import settings_of

__all__ = [
  'add',
  'check_values',
  'crop_alike',
  'define',
  'digest',
  'experiment',
  'flatten',
  'load',
  'may_change',
  'parse_arg',
  'parse_flags',
  'pseudo',
  'read_file',
  'read_run',
  'read_stored',
  'run_name',
  'settings_of',
  'share',
  'share_value',
  'stages',
  'stream',
  'to_json',
  'value',
  'write_run',
]
