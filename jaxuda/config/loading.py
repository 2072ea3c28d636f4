"""Experiments as config files: how one is loaded, overridden and stored.

A config is a file with `get_config(arg) -> ConfigDict`, where `arg` stands
behind the colon of `--config=configs/advent_patch.py:streets`: a preset of the
datasets and the few further words that the file declares (`parse_arg`). Flags
`--config.KEY=VALUE` override any key, as ml_collections.config_flags has it.
"""

import hashlib
import importlib.util
import json
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest

ConfigDict = ml_collections.ConfigDict

# What may differ when a run goes on: it does not change any number.
MAY_CHANGE_ON_RESUME = (
  'name',
  'data_dir',
  'log_every',
  'eval_every',
  'checkpoint_every',
  'num_log_images',
  'max_nonfinite_steps',
  'eval.batch_size',
)


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
    for key in given['config'].nones:
      _set(config, key, None)
    for key, found in flatten(config).items():
      if isinstance(found, tuple) and len(found) == 1:
        _set(config, key, _as_sizes(found))
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
    raise UserError(f'{path} is no config: it has no function get_config.')
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
  """Keep the last override of each key: a second tuple would be appended."""
  flat, kept, rest = flatten(config), {}, []
  arguments = iter(argv)
  for argument in arguments:
    match = re.fullmatch(r'--?config\.([\w.]+)(=.*)?', argument, re.DOTALL)
    if not match or (match[2] is None and isinstance(flat[match[1]], bool)):
      rest.append(argument)
      continue
    value = match[2] or f'={next(arguments, "")}'
    kept[match[1]] = f'--config.{match[1]}{value}'
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


def _set(config, key, value):
  *path, last = key.split('.')
  for name in path:
    config = config[name]
  with config.ignore_type():
    config[last] = value


def _as_sizes(value):
  """('96x192',), as config_flags leaves it, as (96, 192)."""
  match = re.fullmatch(r'(\d+)x(\d+)', str(value[0]))
  return (int(match[1]), int(match[2])) if match else value


def parse_arg(arg: str | None, **declared: Sequence[str]) -> ConfigDict:
  """Parse what stands behind the colon of a config file.

  Args:
    arg: words with commas between them: WORD=VALUE, or a value alone for the
      word that is declared first.
    declared: a word's name to the values that it may have, the default first;
      or to a whole number, its default.

  Returns:
    The value of each word.

  Raises:
    UserError: a word that is not declared, a value that it cannot have, or one
      that is given twice.
  """
  parsed = {
    word: may if isinstance(may, int) else may[0]
    for word, may in declared.items()
  }
  seen = set()
  for item in filter(None, (arg or '').split(',')):
    word, is_value, text = item.strip().partition('=')
    if not is_value:
      word, text = next(iter(declared)), word
    if word in seen:
      raise UserError(f'config argument {item!r}: {word} is given twice.')
    if word not in declared:
      raise UserError(
        f'config argument {item!r}: {word} is not declared'
        f'{nearest(word, declared)} Keys are set by flags, --config.KEY=VALUE.'
      )
    may = declared[word]
    if isinstance(may, int):
      if not text.isdecimal():
        raise UserError(f'config argument {item!r} must be a whole number.')
      text = int(text)
    elif text not in may:
      raise UserError(
        f'config argument {text!r} is no {word}{nearest(text, may)}'
      )
    parsed[word] = text
    seen.add(word)
  return ConfigDict(parsed)


def share(config: ConfigDict, stage: ConfigDict) -> ConfigDict:
  """Let a stage have a config's network, classes, seed and data folder.

  One object each, so that an override of the one reaches the other; and so on
  to the stages of the stage.

  Returns:
    The stage.
  """
  for key in ('classes', 'seed', 'data_dir'):
    share_value(config, stage, key)
  _share_model(config, stage)
  return stage


def share_value(config: ConfigDict, stage: ConfigDict, key: str) -> None:
  """Let one key of a stage be that of a config, whichever is overridden."""
  reference = config.get_ref(key)
  if stage.get_ref(key) is not reference:  # shared already
    stage[key] = reference


def _share_model(config, stage):
  stage.model = config.model
  for inner in stages(stage).values():
    _share_model(stage, inner)


def stages(config: ConfigDict) -> dict[str, ConfigDict]:
  """Return the experiments that come before another one, by their keys.

  'init_stage' comes last, '<stream>.labels_stage' before it. A stage in whose
  place `init` or `<stream>.labels` names a run is left out.
  """
  found = {
    f'{stream}.labels_stage': config[stream].labels_stage
    for stream in ('source', 'target')
    if stream in config and config[stream].labels is None
  }
  if config.init is None:
    found['init_stage'] = config.init_stage
  return {key: stage for key, stage in found.items() if stage is not None}


def read_run(workdir: str | os.PathLike) -> ConfigDict:
  """Return the config that a workdir was trained with.

  Raises:
    UserError: it has none, or a damaged one.
  """
  path = pathlib.Path(workdir) / 'config.json'
  if not path.is_file():
    raise UserError(f'{workdir} is not a run: it has no config.json.')
  try:
    content = json.loads(path.read_text())
  except ValueError as e:
    raise UserError(f'{path} is damaged: {e}.') from None
  return ConfigDict(_tuples(content))


def _tuples(value):
  """JSON's lists back to the tuples that a config holds."""
  if isinstance(value, dict):
    return {k: _tuples(v) for k, v in value.items()}
  return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def flatten(config: Mapping, prefix: str = '') -> dict[str, Any]:
  """Return {'a.b': value} of nested dicts or ConfigDicts."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, dict | ConfigDict):
      flat |= flatten(value, f'{prefix}{key}.')
    else:
      flat[prefix + key] = value
  return flat


def to_json(config: ConfigDict) -> dict:
  """Return the config as plain JSON values; tuples become lists."""
  return json.loads(json.dumps(config.to_dict()))


def may_change(key: str, more: Sequence[str] = ()) -> bool:
  """Return whether a key, or one above it, may differ when a run goes on.

  The same keys of the stages before it may.

  Args:
    key: dots for levels.
    more: further keys that may.
  """
  own = re.sub(r'^(\w+\.)*\w+_stage\.', '', key)
  parts = own.split('.')
  above = {'.'.join(parts[: i + 1]) for i in range(len(parts))}
  return not above.isdisjoint((*MAY_CHANGE_ON_RESUME, *more))


def digest(config: ConfigDict, length: int = 8) -> str:
  """Return a short hash of all that makes a trained network what it is.

  How it is scored and logged is left out.
  """
  flat = flatten(to_json(config))
  kept = {k: v for k, v in flat.items() if not may_change(k, ('eval', 'seed'))}
  text = json.dumps(kept, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:length]


def run_name(given: flags.FlagValues, argv: Sequence[str]) -> str:
  """Return the default folder name of a run: 'advent_patch-streets-steps=300'.

  Args:
    given, argv: of `define`.
  """
  path, _, arg = given['config'].config_filename.partition(':')
  overrides = [
    a.lstrip('-').removeprefix('config.')
    for a in argv
    if re.match(r'--?(no)?config\.', a)
  ]
  overrides += [f'{key}=None' for key in given['config'].nones]
  parts = [pathlib.Path(path).stem, *filter(None, arg.split(',')), *overrides]
  name = re.sub(r'[^\w=.-]+', '_', '-'.join(parts))
  if len(name) <= 150:
    return name
  # File systems take 255 bytes; what is cut off still makes a difference.
  return f'{name[:140]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}'
