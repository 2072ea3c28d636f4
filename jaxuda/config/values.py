"""The values of a config's settings, out of the text of a command line."""

import ast
import re
from typing import Any

from jaxuda.utils.errors import UserError

# Keys that may be None; every other one keeps the type of its default.
OPTIONAL = {
  'eval.classes': str,
  'init': str,
  'init_unused': str,
  'init_fresh': str,
  'discriminator.init': str,
  'data_dir': str,
  'optim.horizon': int,
  'patch.size': int,
  'prior.shares': tuple,
  'semantics': str,
  'local.mixture': str,
  'local.global_game': str,
  'source.count': int,
  'target.count': int,
  'labelled.count': int,
  'labelled.size': tuple,
  'source.size': tuple,
  'source.labels': str,
  'target.size': tuple,
  'target.labels': str,
  'pseudo.input': tuple,
  'eval.size': tuple,
}


def parse(key: str, text: str, default: Any) -> Any:
  """The value that `text` stands for, of the default's type.

  Tuples may be written (96, 192), [96, 192] or 96x192.

  Args:
    key: the setting's name, dots for levels.
    default: what the setting is otherwise.

  Raises:
    UserError: text of another type or length.
  """
  kind = OPTIONAL.get(key) or type(default)
  if text == 'None' and key in OPTIONAL:
    return None
  if kind is str:
    return text[1:-1] if _is_enclosed(text) else text
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    if kind is bool and text.lower() in ('true', 'false'):
      value = text.lower() == 'true'
    elif kind is tuple and re.fullmatch(r'\d+x\d+', text):
      value = tuple(int(n) for n in text.split('x'))
    else:
      value = text
  if kind is float and type(value) is int:
    value = float(value)
  if kind is tuple and isinstance(value, list):
    value = tuple(value)
  good = type(value) is kind
  if good and kind is tuple and default:
    any_length = key in ('eval.scales', 'pseudo.scales', 'model.dilations')
    good = len(value) > 0 if any_length else len(value) == len(default)
    inner = type(default[0])
    value = tuple(
      inner(v) if inner is float and type(v) is int else v for v in value
    )
    good = good and all(type(v) is inner for v in value)
  if not good:
    none = ' or None' if key in OPTIONAL else ''
    raise UserError(
      f'config.{key} takes {kind.__name__}{none}, like {default!r}, '
      f'not {text!r}.'
    )
  return value


def _is_enclosed(text):
  """Whether brackets keep all of a text whole; '(a)|(b)' is a regex."""
  if text[:1] + text[-1:] not in ('()', '[]'):
    return False
  depth = 0
  for i, character in enumerate(text):
    depth += (character == text[0]) - (character == text[-1])
    if depth == 0:
      return i == len(text) - 1
  return False
