"""What a command says of configs when it is asked for help."""

import ast
import collections
import pathlib
import textwrap
from collections.abc import Mapping

from ml_collections import ConfigDict

from jaxuda.config.flat import flatten
from jaxuda.utils.settings import Setting

_WIDTH = 80


def configs() -> str:
  """Return the list of config files, with the first line of each."""
  root = pathlib.Path(__file__).parents[2]
  lines, presets = [], collections.Counter()
  for path in sorted((root / 'configs').glob('[a-z]*.py')):
    tree = ast.parse(path.read_bytes())
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    [build] = [f for f in functions if f.name == 'get_config'] or [None]
    if build is None:
      continue
    presets[(ast.get_docstring(build) or '').partition('.')[0]] += 1
    first = (ast.get_docstring(tree) or '').partition('\n')[0]
    lines.append(f'  {path.relative_to(root)!s:34}{first}')
  [(usual, _)] = presets.most_common(1)
  text = (
    f'Configs. Behind a colon stands what data they take. {usual}. '
    '--config=FILE.py:PRESET --help lists the keys of one.'
  )
  return '\n'.join([*textwrap.wrap(text, _WIDTH), '', *lines])


def keys(config: ConfigDict, settings: Mapping[str, Setting]) -> str:
  """Return every key of a config with its value and what it means.

  Args:
    config: an experiment's.
    settings: of the keys, dots for levels.
  """
  lines = ['Keys of this config, as --config.KEY=VALUE, with their values:', '']
  stages = [key for key in _levels(config) if key.endswith('_stage')]
  for key, value in flatten(config).items():
    if any(key.startswith(f'{stage}.') for stage in stages):
      continue
    lines.append(f'  --config.{key}={value}')
    setting = settings.get(key)
    about = setting.about if setting else ''
    if key.startswith('loss_weights.'):
      about = 'what this term is multiplied by'
    if setting and setting.choices:
      about += f'; one of {", ".join(map(str, setting.choices))}'
    indent = ' ' * 6
    lines += textwrap.wrap(
      about, _WIDTH, initial_indent=indent, subsequent_indent=indent
    )
  for stage in stages:
    lines += [
      '',
      f'  --config.{stage}.KEY: the same of {config_at(config, stage).name}, '
      'which is trained before.',
    ]
  return '\n'.join(lines)


def config_at(config: ConfigDict, key: str) -> ConfigDict:
  """Return a level of a config, dots for levels."""
  for name in key.split('.'):
    config = config[name]
  return config


def _levels(config, prefix=''):
  """Yield the outermost stages, and all levels above them."""
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      yield prefix + name
      if not name.endswith('_stage'):
        yield from _levels(value, f'{prefix}{name}.')
