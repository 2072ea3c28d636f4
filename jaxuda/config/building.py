"""What config files are written with: their argument, defaults and streams."""

from collections.abc import Sequence

from ml_collections import ConfigDict, config_dict

from jaxuda.config import defaults, stream_defaults
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import nearest


def parse_arg(arg: str | None, **declared: Sequence[str] | int) -> ConfigDict:
  """Parse what stands behind the colon of a config file.

  Args:
    arg: words with commas between them: WORD=VALUE, or a value alone for the
      word that is declared first.
    declared: a word's name to the values that it may have, the default first;
      or to a whole number from 1, its default.

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
      if not (text.isdecimal() and int(text)):
        raise UserError(
          f'config argument {item!r} must be a whole number from 1.'
        )
      text = int(text)
    elif text not in may:
      raise UserError(
        f'config argument {text!r} is no {word}{nearest(text, may)}'
      )
    parsed[word] = text
    seen.add(word)
  return ConfigDict(parsed)


def stream(**given) -> ConfigDict:
  """Return a stream of examples with these settings, the others at default."""
  config = ConfigDict()
  add(config, stream_defaults.STREAM)
  config.update(given)
  return config


def pseudo(rule: str) -> ConfigDict:
  """Return the settings of pseudo labels by a rule, with its own values."""
  config = ConfigDict()
  add(config, stream_defaults.PSEUDO)
  config.rule = rule
  return config


def experiment() -> ConfigDict:
  """Return the defaults of all keys but the method's and the network's."""
  config = ConfigDict()
  add(config, defaults.TOP)
  add(config, defaults.below('eval', defaults.EVAL))
  add(config, defaults.below('model', defaults.MODEL))
  add(config, defaults.below('discriminator', defaults.DISCRIMINATOR))
  add(config, defaults.below('optim', defaults.OPTIM))
  config.source, config.target = stream(), stream()
  config.loss_weights = {}
  return config


def add(config: ConfigDict, settings: dict) -> None:
  """Give a config the defaults of settings, dots for levels."""
  for key, setting in settings.items():
    *path, last = key.split('.')
    node = config
    for name in path:
      if name not in node:
        node[name] = ConfigDict()
      node = node[name]
    # A reference keeps the type of the values that may come in None's place.
    node[last] = (
      config_dict.FieldReference(setting.default, field_type=setting.optional)
      if setting.optional
      else setting.default
    )


def crop_alike(config: ConfigDict) -> None:
  """Crop what is mixed to one size: as much as both domains' images have.

  Nothing is done where they have one size, or are cropped already, or a size is
  chosen later.
  """
  pair = config.source, config.target
  sizes = [stream.size for stream in pair]
  if None in sizes or sizes[0] == sizes[1] or any(pair[0].crop):
    return
  for stream in pair:
    stream.crop = tuple(map(min, *sizes))
