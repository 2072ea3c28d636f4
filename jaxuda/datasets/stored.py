"""What a prepared dataset says about itself, read without TensorFlow."""

import json
import pathlib

from jaxuda.datasets import own, specs
from jaxuda.utils.errors import UserError


def metadata(folder: pathlib.Path) -> dict:
  """Return how a prepared dataset was made, as `builder.write` noted it.

  Raises:
    UserError: it cannot be read.
  """
  return _read(folder, 'metadata.json', dict)


def lengths(folder: pathlib.Path) -> dict[str, int]:
  """Return split -> number of prepared examples.

  Raises:
    UserError: it cannot be read.
  """

  def total(info):
    return {s['name']: sum(map(int, s['shardLengths'])) for s in info['splits']}

  return _read(folder, 'dataset_info.json', total)


def shortfall(spec: str, prepared: dict[str, int]) -> dict[str, int]:
  """Return the splits that have another length than the published one.

  Args:
    spec: NAME or NAME/VARIANT.
    prepared: split -> number of examples; splits that are not in it, or of
      which no number is published, are passed over.

  Returns:
    split -> the published number.
  """
  if own.is_own(spec):
    return {}
  name, _ = specs.split_spec(spec)
  published = specs.module(name).COUNTS or {}
  return {
    split: published[split]
    for split, length in prepared.items()
    if published.get(split) not in (None, length)
  }


def prepare_again(spec: str, size: specs.Size, folder: pathlib.Path) -> str:
  """Return the command that prepares again what lies in `folder`, unchanged."""
  try:
    made = metadata(folder)
  except UserError:  # damaged, which may be why it is prepared again
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
