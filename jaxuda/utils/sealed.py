"""JSON files with a checksum inside, which read back as they were written.

Each is an object that has, beside its content, the crc32 of all of it. Spaces
and the order of its keys are no matter.
"""

import json
import math
import os
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

from jaxuda.utils import files
from jaxuda.utils.errors import UserError

KEY = 'crc32'
MOST_BYTES = 2**26  # of a file; none of ours comes near
_DEEPEST = 20  # of objects and lists in one another

# Forms, as JSON Schema has them.
TEXT = {'type': 'string', 'maxLength': 10_000}
COUNT = {'type': 'integer', 'minimum': 0, 'maximum': 2**53}
NUMBER = {'type': 'number'}
SHARE = {'type': ['number', 'null'], 'minimum': 0, 'maximum': 1}


def form(required: Mapping[str, Any], optional: Mapping[str, Any]) -> dict:
  """Return the form of an object that has these keys and no others."""
  return {
    'type': 'object',
    'properties': {**required, **optional},
    'required': [*required],
    'additionalProperties': False,
  }


def named(values: Mapping[str, Any]) -> dict:
  """Return the form of an object with values of one form, whatever its keys."""
  return {'type': 'object', 'additionalProperties': values}


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
  """Return JSON-able content as it will be read, and its crc32."""
  content = json.loads(json.dumps(content))  # tuples and int keys as read
  return content | {KEY: _crc32(content)}


def is_whole(sealed: Mapping[str, Any]) -> bool:
  """Return whether sealed content is what was sealed."""
  content = {k: v for k, v in sealed.items() if k != KEY}
  return sealed.get(KEY) == _crc32(content)


def write(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
  """Write sealed JSON whole; see files.write."""
  files.write_json(path, seal(content))


def read(
  path: str | os.PathLike, expected: Mapping[str, Any] | None, mend: str
) -> dict[str, Any]:
  """Return the content of a sealed file.

  A file without a crc32 is taken as it is: whoever edits one leaves it out.

  Args:
    path: of the file.
    expected: the form of the content, in JSON Schema; None for any object.
    mend: what to do about a damaged file, which ends the sentence.

  Raises:
    UserError: it cannot be read; or it is damaged, which is told with the
      reason.
  """
  path = pathlib.Path(path)
  try:
    with path.open('rb') as file:
      data = file.read(MOST_BYTES + 1)
  except OSError as e:
    raise UserError(f'{path} cannot be read ({e.strerror}): {mend}.') from None
  try:
    content = _parse(data)
    if KEY in content:
      if not is_whole(content):
        raise ValueError(f'its {KEY} is of other content')
      del content[KEY]
    if expected is not None:
      _check(content, expected)
  except (ValueError, RecursionError) as e:
    reason = ' '.join(str(e).split())[:200]
    raise UserError(f'{path} is damaged ({reason}): {mend}.') from None
  return content


def _parse(data):
  """Return an object of finite numbers.

  Raises:
    ValueError, RecursionError: the text is none.
  """
  if len(data) > MOST_BYTES:
    raise ValueError(f'it has more than {MOST_BYTES:,} bytes')
  content = json.loads(
    data.decode('utf-8'), parse_constant=_finite, parse_float=_finite
  )
  if not isinstance(content, dict):
    raise ValueError('it is no JSON object')
  if _depth(content) > _DEEPEST:
    raise ValueError('it is nested too deeply')
  return content


def _depth(value):
  below = value.values() if isinstance(value, dict) else value
  if not isinstance(below, list | type({}.values())):
    return 0
  return 1 + max(map(_depth, below), default=0)


def _finite(text):
  number = float(text)
  if not math.isfinite(number):
    raise ValueError(f'it has the number {text}')
  return number


def _check(content, expected):
  """Raise ValueError where content has another form."""
  import jsonschema  # late: it takes 0.1 s

  validator = jsonschema.Draft202012Validator(expected)
  found = next(validator.iter_errors(content), None)
  if found is not None:
    where = '.'.join(map(str, found.absolute_path))
    raise ValueError(f'{where}: {found.message}' if where else found.message)


def _crc32(content) -> int:
  return zlib.crc32(json.dumps(content, sort_keys=True).encode())
