"""Datasets: raw downloads in, prepared records out.

Each dataset is a folder here with its own README; `python -m data.prepare`
turns its raw files into records once, `python -m data.verify` checks both.
This module says where prepared records lie. It imports nothing heavy.

A dataset is named by a *spec*, `NAME` or `NAME/VARIANT` (`gta5`,
`crosscity/rome`, `streets/game`), and a *size*, (height, width) in pixels or
None for the size of the raw files.
"""

import difflib
import importlib
import os
import pathlib
import re
import shlex
import types

from jaxuda.utils.errors import UserError

DATASETS = ('gta5', 'synthia', 'cityscapes', 'crosscity', 'camvid', 'streets')
EVALUATION_SPLITS = ('val', 'test', 'tune')  # these also keep the full label

Size = tuple[int, int] | None


def module(name: str) -> types.ModuleType:
  """The module that describes a dataset: `data.<name>`."""
  if name not in DATASETS:
    near = difflib.get_close_matches(name, DATASETS, 1, cutoff=0.0)[0]
    raise UserError(
      f'unknown dataset {name!r}; did you mean {near!r}? '
      f'There are: {", ".join(DATASETS)}.'
    )
  return importlib.import_module(f'data.{name}')


def split_spec(spec: str) -> tuple[str, str]:
  """Splits `'crosscity/rome'` into `('crosscity', 'rome')`.

  Datasets without variants have the variant `''`, as have those that are one
  by themselves (`gta5`, beside `gta5/translated`).
  """
  specs = specs_of(spec)
  if len(specs) > 1:
    raise UserError(f'{spec!r} has variants; name one of: {", ".join(specs)}.')
  name, _, variant = specs[0].partition('/')
  return name, variant


def specs_of(name_or_spec: str) -> tuple[str, ...]:
  """Every spec that a name stands for: all variants where none is named."""
  name, _, variant = name_or_spec.partition('/')
  variants = module(name).VARIANTS
  if variant and variant not in variants:
    known = ', '.join(f'{name}/{v}'.rstrip('/') for v in variants) or name
    raise UserError(f'unknown dataset {name_or_spec!r}; there is: {known}.')
  if variant or not variants or '' in variants:
    return (name_or_spec.rstrip('/'),)
  return tuple(f'{name}/{v}' for v in variants)


def parse_size(text: str) -> Size:
  """`'720x1280'` (height x width) -> (720, 1280), `'full'` -> None."""
  if text == 'full':
    return None
  match = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', text)
  if not match:
    raise UserError(
      f"size {text!r} is neither HEIGHTxWIDTH (720x1280) nor 'full'."
    )
  return int(match[1]), int(match[2])


def size_name(size: Size) -> str:
  """(720, 1280) -> `'720x1280'`, None -> `'full'`."""
  return 'full' if size is None else f'{size[0]}x{size[1]}'


def default_data_dir() -> pathlib.Path:
  """Where prepared datasets lie: $TFDS_DATA_DIR or ~/tensorflow_datasets."""
  folder = os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  return pathlib.Path(folder).expanduser()


def prepared_dir(
  spec: str,
  size: Size,
  data_dir: str | os.PathLike | None = None,
  *,
  jpeg: bool = False,
) -> pathlib.Path:
  """The folder of a prepared dataset, whether or not it exists.

  `<data_dir>/<name>/[<variant>-]<HxW or full>[-jpeg]/<version>`.
  """
  name, variant = split_spec(spec)
  root = pathlib.Path(data_dir) if data_dir else default_data_dir()
  config = config_name(variant, size, jpeg)
  return root.expanduser() / name / config / module(name).VERSION


def config_name(variant: str, size: Size, jpeg: bool) -> str:
  """The folder below `<data_dir>/<name>`, also the TFDS config's name."""
  parts = [variant, size_name(size), 'jpeg' if jpeg else '']
  return '-'.join(p for p in parts if p)


def is_prepared(folder: pathlib.Path) -> bool:
  """Whether a finished dataset lies there."""
  return (folder / 'dataset_info.json').is_file()


def prepare_command(
  spec: str, size: Size, data_dir: str | os.PathLike | None = None
) -> str:
  """The exact command that prepares a dataset."""
  name, _ = split_spec(spec)
  raw = ' --raw=DIR' if module(name).NEEDS_RAW else ''
  where = f' --data_dir={shlex.quote(str(data_dir))}' if data_dir else ''
  return f'python -m data.prepare {spec}{raw} --size={size_name(size)}{where}'
