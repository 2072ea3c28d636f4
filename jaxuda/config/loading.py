"""Config files on a command line: how one is found, loaded and overridden.

A config is a file with `get_config(arg) -> ConfigDict`, where `arg` stands
behind the colon of `--config=configs/advent_patch.py:streets`: a preset of the
datasets and the few further words that the file declares (`parse_arg`). Flags
`--config.KEY=VALUE` override any key, as ml_collections.config_flags has it.
"""

import hashlib
import importlib.util
import pathlib
import re
from collections.abc import Iterable, Sequence

import ml_collections
from absl import flags
from ml_collections import config_flags

from jaxuda.config.flat import flatten
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

ConfigDict = ml_collections.ConfigDict


def define(given: flags.FlagValues, argv: Sequence[str]) -> list[str]:
  """Define --config and its overrides for a command line.

  Args:
    given: the command's flags.
    argv: the command and its arguments.

  Returns:
    The arguments in an order in which they can be parsed, with the path of the
    config file as it is found from here.

  Raises:
    UserError: no such file, or an override of a key that it does not have.
  """
  argv = _config_first(argv)
  argv, spec = _with_found_file(argv)
  overrides = [a for a in argv if re.match(r'--?(no)?config\.', a)]
  if spec:
    defaults = _defaults(spec)
    _check_overrides(defaults, overrides)
    argv = _last_overrides(argv, defaults)
  elif overrides:
    raise UserError(f'{overrides[0]} needs --config=configs/NAME.py.')
  argv, nones = _without_nones(argv)
  config_flags.DEFINE_config_file(
    'config',
    None,
    'A config file, with its argument behind a colon: '
    'configs/advent_patch.py:streets. --config.KEY=VALUE overrides any of its '
    'keys.',
    flag_values=given,
    sys_argv=argv,
  )
  given['config'].nones = nones
  return argv


def value(given: flags.FlagValues) -> ConfigDict | None:
  """Return the config of parsed flags, locked; None where there is none."""
  config = given.config
  if config is None:
    return None
  with config.unlocked(), config.ignore_type():
    config.update_from_flattened_dict(dict.fromkeys(given['config'].nones))
    for key, found in flatten(config).items():
      if isinstance(found, tuple) and len(found) == 1:
        config.update_from_flattened_dict({key: _as_sizes(found)})
  return config


def load(spec: str, overrides: Iterable[str] = ()) -> ConfigDict:
  """Load a config as a command line would.

  Args:
    spec: FILE or FILE:ARG.
    overrides: KEY=VALUE strings.

  Returns:
    The locked config.

  Raises:
    UserError: the file is missing, or an argument or an override is refused.
  """
  given = flags.FlagValues()
  argv = ['', f'--config={spec}', *(f'--config.{o}' for o in overrides)]
  argv = define(given, argv)
  parse_flags(given, argv)
  return value(given)


def parse_flags(given: flags.FlagValues, argv: Sequence[str]) -> list[str]:
  """Parse a command line; return the arguments that are no flags.

  Raises:
    UserError: an unknown flag, or a value that it cannot have.
  """
  try:
    return given(argv)[1:]
  except flags.IllegalFlagValueError as e:
    match = re.match(r'flag --config\.([\w.]+)=(.*?): ', str(e), re.DOTALL)
    if not match:
      raise UserError(str(e)) from e
    kind = config_type(given.config, match[1])
    raise UserError(f'config.{match[1]} takes {kind}, not {match[2]!r}.') from e
  except flags.Error as e:
    raise UserError(str(e)) from e


def config_type(config: ConfigDict, key: str) -> str:
  """Return the name of the type that a key's values have."""
  *path, last = key.split('.')
  for name in path:
    config = config[name]
  return config.get_type(last).__name__


def _config_first(argv):
  """Put --config before its overrides, as it must come."""
  for i, argument in enumerate(argv[1:], 1):
    name, is_value, text = argument.lstrip('-').partition('=')
    if argument.startswith('-') and name == 'config':
      if is_value:
        rest = [*argv[1:i], *argv[i + 1 :]]
      else:
        text, rest = ''.join(argv[i + 1 : i + 2]), [*argv[1:i], *argv[i + 2 :]]
      return [argv[0], f'--config={text}', *rest]
  return list(argv)


def _with_found_file(argv):
  """Give --config the file's path as it is found; return what it names, too."""
  if not (argv[1:] and argv[1].startswith('--config=')):
    return argv, None
  path, colon, arg = argv[1].removeprefix('--config=').partition(':')
  # A config without an argument has its defaults.
  spec = f'{find(path)}:{arg}' if colon else str(find(path))
  return [argv[0], f'--config={spec}', *argv[2:]], spec


def find(path: str) -> pathlib.Path:
  """Return the path of a config file, from here or beside jaxuda.

  Raises:
    UserError: there is none; names the nearest.
  """
  root = pathlib.Path(__file__).parents[2]
  for file in (pathlib.Path(path), root / path):
    if file.is_file() and file.suffix == '.py':
      return file
  there = sorted((root / 'configs').glob('[a-z]*.py'))
  known = [str(p.relative_to(root)) for p in there]
  raise UserError(f'config file {path!r} does not exist{nearest(path, known)}')


def _defaults(spec):
  """Load the config as it is before any override.

  config_flags loads it once more; what it raises then has a traceback inside.
  """
  path, colon, arg = spec.partition(':')
  source = importlib.util.spec_from_file_location('jaxuda_config', path)
  module = importlib.util.module_from_spec(source)
  source.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise UserError(f'{path} is not a config: it has no function get_config.')
  return module.get_config(*([arg] if colon else []))


def _check_overrides(config, overrides):
  """Refuse keys that the config does not have; names the nearest."""
  keys = [
    argument.lstrip('-').partition('=')[0].partition('.')[2]
    for argument in overrides
  ]
  flat = flatten(config)
  stages = [k for k, v in _nodes(config) if k.endswith('_stage')]
  for key in keys:
    if key == 'method' or re.fullmatch(r'model\.(en|de)coder\.name', key):
      raise UserError(
        f'config.{key} is chosen by the config file, or by its argument, such '
        'as --config=configs/advent.py:gta5,encoder=vgg16'
      )
    if key not in flat and key not in stages:
      inner = [name for name in flat if name.startswith(key + '.')]
      hint = f'; it holds {", ".join(inner)}' if inner else nearest(key, flat)
      raise UserError(f'config has no key {key!r}{hint}')


def _last_overrides(argv, config):
  """Keep the last override of each key, as --config.KEY=VALUE.

  Of two tuples the second one would be appended, and of a boolean's two flags
  that without a value would win.
  """
  kept, rest = {}, []
  arguments = iter(argv)
  for argument in arguments:
    match = re.fullmatch(r'--?(no)?config\.([\w.]+)(=.*)?', argument, re.DOTALL)
    if not match:
      rest.append(argument)
      continue
    no, key, value = match.groups()
    if value is None and (no or config_type(config, key) == 'bool'):
      value = f'={not no}'
    elif no:
      raise UserError(f'--noconfig.{key} takes no value, not {value[1:]!r}.')
    kept[key] = f'--config.{key}{value or "=" + next(arguments, "")}'
  return [*rest[:2], *kept.values(), *rest[2:]]


def _nodes(config, prefix=''):
  """(key, ConfigDict) of all levels."""
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      yield prefix + key, value
      yield from _nodes(value, f'{prefix}{key}.')


def _without_nones(argv):
  """Take KEY=None, which not every parser has, off a command line."""
  rest, keys = [], []
  for argument in argv:
    match = re.fullmatch(r'--?config\.([\w.]+)=None', argument)
    if match:
      keys.append(match[1])
    else:
      rest.append(argument)
  return rest, keys


def _as_sizes(value):
  """('96x192',), as config_flags leaves it, as (96, 192)."""
  match = re.fullmatch(r'(\d+)x(\d+)', str(value[0]))
  return (int(match[1]), int(match[2])) if match else value


def run_name(given: flags.FlagValues, argv: Sequence[str]) -> str:
  """Return the default folder name of a run: 'advent_patch-streets-steps=300'.

  Args:
    given, argv: of `define`.
  """
  path, _, arg = given['config'].config_filename.partition(':')
  overrides = [
    a.lstrip('-').removeprefix('config.')
    for a in argv
    if a.startswith('--config.')
  ]
  overrides += [f'{key}=None' for key in given['config'].nones]
  parts = [pathlib.Path(path).stem, *filter(None, arg.split(',')), *overrides]
  name = re.sub(r'[^\w=.-]+', '_', '-'.join(parts))
  if len(name) <= 150:
    return name
  # File systems take 255 bytes; what is cut off still makes a difference.
  return f'{name[:140]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}'
