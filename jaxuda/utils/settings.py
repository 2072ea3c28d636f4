"""Settings: what a key of a config may be, declared where it is read."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxuda.utils.errors import UserError


class Setting(NamedTuple):
  """A key's default, and what else it may be.

  Attributes:
    default: the value where a config file says nothing.
    about: what it means, in a line; a refusal ends with it.
    choices: the values that it may have; () for any.
    least, most: bounds of a number, or of each number of a tuple.
    optional: the type of its values where it may also be None.
    length: how many values a tuple has; None for any number but none.
    item: the type of a tuple's values.
  """

  default: Any
  about: str = ''
  choices: Sequence[Any] = ()
  least: float | None = None
  most: float | None = None
  optional: type | None = None
  length: int | None = None
  item: type = int

  @property
  def kind(self) -> type:
    """The type of its values."""
    return self.optional or type(self.default)


def check(
  key: str, value: Any, setting: Setting, above: str = 'config.'
) -> None:
  """Refuse a value that a setting cannot have.

  Args:
    key: the setting's name in a config, dots for levels.
    value: what the config has there.
    setting: what it may have.
    above: what stands before the key in the message.

  Raises:
    UserError: another type, length or choice, or out of bounds; says what the
      setting means.
  """
  if fault := _fault(value, setting):
    about = f' ({setting.about})' if setting.about else ''
    raise UserError(f'{above}{key}={value!r} {fault}{about}.')


def check_all(
  flat: Mapping[str, Any],
  settings: Mapping[str, Setting],
  above: str = 'config.',
) -> None:
  """Check every key that the settings know; see `check`."""
  for key, setting in settings.items():
    if key in flat:
      check(key, flat[key], setting, above)


def _fault(value, setting):
  """Return what is wrong with a value, '' for nothing."""
  if value is None and setting.optional:
    return ''
  if not _is_of(value, setting):
    none = ', or None' if setting.optional else ''
    return f'must be {_describe(setting)}{none}'
  if setting.choices and value not in setting.choices:
    return f'is none of {", ".join(map(str, setting.choices))}'
  numbers = value if isinstance(value, tuple) else (value,)
  least = -math.inf if setting.least is None else setting.least
  most = math.inf if setting.most is None else setting.most
  bounded = setting.least is not None or setting.most is not None
  if not bounded or all(least <= number <= most for number in numbers):
    return ''
  limits = [f'at least {least}'] if least > -math.inf else []
  limits += [f'at most {most}'] if most < math.inf else []
  return f'must be {" and ".join(limits)}'


def _is_of(value, setting):
  kind = setting.kind
  if kind is float and type(value) is int:
    return True
  if type(value) is not kind:
    return False
  if kind is tuple:
    if setting.length is None:
      good = len(value) > 0
    else:
      good = len(value) == setting.length
    types = (int, float) if setting.item is float else (setting.item,)
    return good and all(type(v) in types for v in value)
  return True


def _describe(setting):
  if setting.kind is not tuple:
    return {int: 'a whole number', float: 'a number', str: 'a text'}.get(
      setting.kind, 'True or False'
    )
  kinds = {int: 'whole numbers', float: 'numbers', str: 'names'}
  count = setting.length or 'one or more'
  example = setting.default or ((96, 192) if setting.length == 2 else None)
  return f'{count} {kinds[setting.item]}' + (
    f', such as {example}' if example else ''
  )
