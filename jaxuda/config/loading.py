"""Experiments as config pages: how one is loaded, overridden and checked.

A page is a file with `get_config(arg: str) -> ConfigDict`, whose `arg` is what
stands behind the colon of `--config=configs/advent_patch.py:streets,steps=300`:
at most one setting of the datasets, then KEY=VALUE overrides. `--config.KEY`
flags mean the same. Both are refused with the nearest valid name.
"""

import difflib
import hashlib
import importlib.util
import json
import pathlib
import re
from collections.abc import Callable, Iterable

import ml_collections

from jaxuda.config import values
from jaxuda.utils.errors import UserError

# What a network's weights mean: stages that follow one another share it.
NETWORK = (
  'classes',
  'model.backbone',
  'model.blocks',
  'model.width',
  'model.style',
  'model.pixels',
  'model.dilations',
  'model.live_branches',
  'model.multi_level',
  'model.twin',
)


def parse_spec(spec: str) -> tuple[str, str]:
  """Splits 'configs/x.py:streets,steps=3' into path and argument."""
  path, _, arg = spec.partition(':')
  return path, arg


def load(spec: str, overrides: Iterable[str] = ()) -> ml_collections.ConfigDict:
  """Runs a config page.

  Args:
    spec: PATH or PATH:ARG.
    overrides: further KEY=VALUE strings.

  Returns:
    The locked config.

  Raises:
    UserError: the page is missing, or an argument is refused.
  """
  path, arg = parse_spec(spec)
  file = pathlib.Path(path)
  if not file.is_file() or file.suffix != '.py':
    pages = sorted(str(p) for p in pathlib.Path('configs').glob('[a-z]*.py'))
    raise UserError(
      f'config page {path!r} does not exist{nearest(path, pages)}'
    )
  module_spec = importlib.util.spec_from_file_location(
    f'jaxuda_config_{file.stem}', file
  )
  module = importlib.util.module_from_spec(module_spec)
  module_spec.loader.exec_module(module)
  items = [arg] if arg else []
  for item in overrides:
    key, _, text = item.partition('=')
    # Brackets keep a value with commas whole, such as init's own overrides.
    items.append(f'{key}=({text})' if ',' in text else item)
  return module.get_config(','.join(items))


def build(
  arg: str, settings: dict[str, Callable[[], ml_collections.ConfigDict]]
) -> tuple[ml_collections.ConfigDict, str]:
  """What a page begins with: the datasets' setting named in `arg`.

  Args:
    arg: the page's argument; its overrides are applied by `finish`.
    settings: name -> function that makes the default config; the first one is
      used where `arg` names none.

  Returns:
    The config and the setting's name.

  Raises:
    UserError: an unknown setting, or more than one.
  """
  names = [item for item in _split(arg) if '=' not in item]
  for name in names:
    if name not in settings:
      raise UserError(
        f'config argument {name!r} is neither a setting nor KEY=VALUE'
        f'{nearest(name, settings)}'
      )
  if len(names) > 1:
    raise UserError(f'config argument names several settings: {names}.')
  name = names[0] if names else next(iter(settings))
  return settings[name](), name


def finish(
  config: ml_collections.ConfigDict, arg: str
) -> ml_collections.ConfigDict:
  """What a page ends with: applies the overrides in `arg` and locks."""
  for item in _split(arg):
    if '=' in item:
      key, _, text = item.partition('=')
      override(config, key.strip(), text.strip())
  config.lock()
  return config


def override(config: ml_collections.ConfigDict, key: str, text: str) -> None:
  """Sets `config.key` (dots for levels) from text, in the default's type.

  Raises:
    UserError: no such key, or text of another type or length.
  """
  flat = flatten(config)
  if key not in flat:
    inner = [name for name in flat if name.startswith(key + '.')]
    hint = f'; it holds {", ".join(inner)}' if inner else nearest(key, flat)
    raise UserError(f'config has no key {key!r}{hint}')
  if key == 'method':
    raise UserError(
      f'a method is chosen by its page: --config=configs/{text}.py'
    )
  value = values.parse(key, text, flat[key])
  *path, last = key.split('.')
  node = config
  for name in path:
    node = node[name]
  with node.ignore_type():
    node[last] = value


def of(named: str) -> ml_collections.ConfigDict | None:
  """The config of what a setting such as `init` names, None of a file.

  Args:
    named: a page, a run's folder, or a file of weights.

  Raises:
    UserError: as `load` and `read_run`.
  """
  path, _ = parse_spec(named)
  if path.endswith('.py'):
    return load(named)
  return read_run(pathlib.Path(named)) if pathlib.Path(named).is_dir() else None


def read_run(workdir: pathlib.Path) -> ml_collections.ConfigDict:
  """The config that a workdir was trained with.

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
  return ml_collections.ConfigDict(_tuples(content))


def _tuples(value):
  """JSON's lists back to the tuples that a config holds."""
  if isinstance(value, dict):
    return {k: _tuples(v) for k, v in value.items()}
  return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def given(arg: str, key: str) -> str | None:
  """What a page's argument sets a key to; None where it does not."""
  found = None
  for item in _split(arg):
    name, _, text = item.partition('=')
    if name.strip() == key:
      found = None if text.strip() in ('', 'None') else text.strip()
  return found


def _split(arg: str) -> list[str]:
  """Splits at commas that are outside of brackets; 'a,b=(1,2)' has two."""
  items, depth = [''], 0
  for character in arg or '':
    depth += (character in '([') - (character in ')]')
    if character == ',' and depth <= 0:
      items.append('')
    else:
      items[-1] += character
  return [item.strip() for item in items if item.strip()]


def split_overrides(argv: list[str]) -> tuple[list[str], list[str]]:
  """Takes the --config.KEY=VALUE flags out of a command line.

  Returns:
    The other arguments, and the KEY=VALUE strings.
  """
  rest, overrides = [], []
  arguments = iter(argv)
  for argument in arguments:
    name = argument.lstrip('-')
    if argument.startswith('-') and name.startswith('config.'):
      name = name.removeprefix('config.')
      if '=' not in name:
        name += '=' + next(arguments, '')
      overrides.append(name)
    else:
      rest.append(argument)
  return rest, overrides


def flatten(config, prefix: str = '') -> dict:
  """{'a.b': value} of nested dicts or ConfigDicts."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, dict | ml_collections.ConfigDict):
      flat |= flatten(value, f'{prefix}{key}.')
    else:
      flat[prefix + key] = value
  return flat


def nearest(name: str, names: Iterable[str]) -> str:
  """'; did you mean X?' or '; there are X, Y, Z.' for an unknown name."""
  names = list(names)
  last = {n.rpartition('.')[2]: n for n in names}
  match = difflib.get_close_matches(name, names, 1, 0.5) or [
    last[m] for m in difflib.get_close_matches(name, last, 1, 0.6)
  ]
  if match:
    return f'; did you mean {match[0]!r}?'
  return f'; there are {", ".join(names)}.'


def to_json(config: ml_collections.ConfigDict) -> dict:
  """The config as plain JSON values (tuples become lists)."""
  return json.loads(json.dumps(config.to_dict()))


def run_name(spec: str, overrides: Iterable[str] = ()) -> str:
  """The default folder name of a run: 'advent_patch-streets-steps=300'."""
  path, arg = parse_spec(spec)
  parts = [pathlib.Path(path).stem, *_split(arg), *overrides]
  name = re.sub(r'[^\w=.-]+', '_', '-'.join(parts))
  if len(name) <= 150:
    return name
  # File systems take 255 bytes; what is cut off still makes a difference.
  return f'{name[:140]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}'
