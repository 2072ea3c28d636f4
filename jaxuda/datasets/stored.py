"""What a prepared dataset says of itself; read without TensorFlow."""

import json
import pathlib

from jaxuda.datasets import specs
from jaxuda.utils.errors import UserError


def metadata(folder: pathlib.Path) -> dict:
  """How a prepared dataset was made: what `builder.write` noted.

  Raises:
    UserError: it cannot be read.
  """
  return _read(folder, 'metadata.json', dict)


def lengths(folder: pathlib.Path) -> dict[str, int]:
  """split -> number of prepared examples.

  Raises:
    UserError: it cannot be read.
  """

  def total(info):
    return {s['name']: sum(map(int, s['shardLengths'])) for s in info['splits']}

  return _read(folder, 'dataset_info.json', total)


def shortfall(spec: str, prepared: dict[str, int]) -> dict[str, int]:
  """The splits that have another length than the published one.

  Args:
    spec: NAME or NAME/VARIANT.
    prepared: split -> number of examples; splits that are not in it, or of
      which no number is published, are not looked at.

  Returns:
    split -> the published number.
  """
  name, _ = specs.split_spec(spec)
  published = specs.module(name).COUNTS or {}
  return {
    split: published[split]
    for split, length in prepared.items()
    if published.get(split) not in (None, length)
  }


def prepare_again(spec: str, size: specs.Size, folder: pathlib.Path) -> str:
  """The command that prepares anew what lies in `folder`, as it was made."""
  try:
    made = metadata(folder)
  except UserError:  # damaged, which may be why it is prepared anew
    made = {}
  if 'pseudo' in made:
    return made['pseudo']['command']
  command = specs.prepare_command(spec, size, folder.parents[2])
  if not folder.parent.name.endswith('-jpeg'):
    return command
  quality = made.get('quality')
  return f'{command} --jpeg={quality}' if quality else f'{command} --jpeg'


def _read(folder, name, parse):
  try:
    return parse(json.loads((folder / name).read_text()))
  except (OSError, ValueError, LookupError, TypeError) as e:
    raise UserError(
      f'{folder} is damaged ({name}: {e}); delete it and prepare it again.'
    ) from e
