"""Datasets by name, and where their prepared records lie.

Each dataset is a package in data/ with its own README; `python -m data.prepare`
turns its raw files into records once, `python -m data.verify` checks both.
This module imports nothing heavy.

A dataset is named by a *spec*, `NAME` or `NAME/VARIANT` (`gta5`,
`crosscity/rome`, `streets/game`), or, where it is a user's own, the path of a
TOML file or `folder:PATH` (own.py); and by a *size*, (height, width) in pixels
or None for the size of the raw files.
"""

import functools
import importlib
import os
import pathlib
import pkgutil
import re
import shlex
import types

from jaxuda.datasets import own
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import beside, nearest

EVALUATION_SPLITS = ('val', 'test', 'tune')  # these also keep the full label

Size = tuple[int, int] | None


@functools.cache
def datasets() -> tuple[str, ...]:
  """Return the names of all datasets: the packages inside data/."""
  found = pkgutil.iter_modules(beside('data').__path__)
  return tuple(sorted(module.name for module in found if module.ispkg))


def module(name: str) -> types.ModuleType | own.Dataset:
  """Return what describes a dataset: `data.<name>`, or a user's own.

  Raises:
    UserError: there is no such dataset.
  """
  if own.is_own(name):
    return own.describe(name)
  if name not in datasets():
    hint = nearest(name, datasets())
    if pathlib.Path(name).expanduser().is_dir():
      hint = f'; a folder of images is {own.FOLDER}{name}.'
    raise UserError(f'unknown dataset {name!r}{hint}')
  return importlib.import_module(f'data.{name}')


def split_spec(spec: str) -> tuple[str, str]:
  """Split `'crosscity/rome'` into `('crosscity', 'rome')`.

  The variant is `''` where a dataset has no variants, and where the name alone
  is one of them (`gta5`, next to `gta5/translated`).

  Raises:
    UserError: there is no such dataset, or only a variant of it can be meant.
  """
  if own.is_own(spec):
    return own.absolute(spec), ''
  specs = specs_of(spec)
  if len(specs) > 1:
    raise UserError(f'{spec!r} has variants; name one of: {", ".join(specs)}.')
  name, _, variant = specs[0].partition('/')
  return name, variant


def specs_of(name_or_spec: str) -> tuple[str, ...]:
  """Return every spec that a name stands for.

  Those are all its variants where none is named.

  Raises:
    UserError: there is no such dataset or variant.
  """
  if own.is_own(name_or_spec):
    return (own.absolute(name_or_spec),)
  name, _, variant = name_or_spec.partition('/')
  if name not in datasets():
    name = name_or_spec  # a path, of which no part is a variant
  variants = module(name).VARIANTS
  if variant and variant not in variants:
    known = ', '.join(f'{name}/{v}'.rstrip('/') for v in variants) or name
    raise UserError(f'unknown dataset {name_or_spec!r}; there is: {known}.')
  if variant or not variants or '' in variants:
    return (name_or_spec.rstrip('/'),)
  return tuple(f'{name}/{v}' for v in variants)


def parse_size(text: str) -> Size:
  """Return (720, 1280) for `'720x1280'` (height x width), None for `'full'`.

  Raises:
    UserError: it is neither.
  """
  if text == 'full':
    return None
  match = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', text)
  if not match:
    raise UserError(
      f"size {text!r} is neither HEIGHTxWIDTH (720x1280) nor 'full'."
    )
  return int(match[1]), int(match[2])


def size_name(size: Size) -> str:
  """Return `'720x1280'` for (720, 1280), `'full'` for None."""
  return 'full' if size is None else f'{size[0]}x{size[1]}'


def default_data_dir() -> pathlib.Path:
  """Return the default root: $TFDS_DATA_DIR or ~/tensorflow_datasets."""
  folder = os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  return pathlib.Path(folder).expanduser()


def prepared_dir(
  spec: str,
  size: Size,
  data_dir: str | os.PathLike | None = None,
  *,
  jpeg: bool = False,
) -> pathlib.Path:
  """Return the folder of a prepared dataset, whether or not it exists.

  That is `<data_dir>/<name>/[<variant>-]<HxW or full>[-jpeg]/<version>`.
  """
  name, variant = split_spec(spec)
  root = pathlib.Path(data_dir) if data_dir else default_data_dir()
  config = config_name(variant, size, jpeg)
  version = own.VERSION if own.is_own(name) else module(name).VERSION
  return root.expanduser() / tfds_name(name) / config / version


def tfds_name(name: str) -> str:
  """Return a dataset's name in TFDS, in which it may have no slash."""
  return own.slug(name) if own.is_own(name) else name


def page(name: str) -> str:
  """Return what to read of a dataset: its README.md, or a user's own file."""
  return name if own.is_own(name) else f'data/{name}/README.md'


def config_name(variant: str, size: Size, jpeg: bool) -> str:
  """Return the folder below `<data_dir>/<name>`: the TFDS config's name."""
  parts = [variant, size_name(size), 'jpeg' if jpeg else '']
  return '-'.join(p for p in parts if p)


def split_config(name: str, config: str) -> tuple[str, Size, bool]:
  """Return the spec, the size and whether it is JPEG of a `config_name`.

  Raises:
    UserError: no dataset of that name is prepared under it.
  """
  match = re.fullmatch(r'(?:(\w+)-)?(\d+x\d+|full)(-jpeg)?', config)
  if not match:
    given = f'{name}/{config}'.rstrip('/')
    raise UserError(
      f'{given!r} names no size: write {name}/96x192, or of a variant '
      f'{name}/VARIANT-96x192.'
    )
  variant, size, jpeg = match.groups()
  spec = f'{name}/{variant}' if variant else name
  split_spec(spec)
  return spec, parse_size(size), bool(jpeg)


def is_prepared(folder: pathlib.Path) -> bool:
  """Return whether a finished dataset lies there."""
  return (folder / 'dataset_info.json').is_file()


def prepare_command(
  spec: str,
  size: Size,
  data_dir: str | os.PathLike | None = None,
  raw: str | os.PathLike | None = None,
) -> str:
  """Return the exact command that prepares a dataset.

  `--raw=DIR` stands for the folder of the download where that is not known.
  """
  name, _ = split_spec(spec)
  parts = ['python -m data.prepare', shlex.quote(spec)]
  if not own.is_own(name) and module(name).NEEDS_RAW:
    parts.append(f'--raw={shlex.quote(str(raw or "DIR"))}')
  parts.append(f'--size={size_name(size)}')
  if data_dir:
    parts.append(f'--data_dir={shlex.quote(str(data_dir))}')
  return ' '.join(parts)
