"""Image files of any kind: finding, naming and reading them."""

import collections
import contextlib
import glob
import itertools
import os
import pathlib
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxuda.utils.errors import UserError

SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')
_LYING = (5, 6, 7, 8)  # EXIF orientations that swap the sides
_opening = threading.Lock()


class Photo(NamedTuple):
  """An image file, and a unique name for what is made from it.

  Attributes:
    path: of the file.
    name: its path in the folder that was searched, without the suffix; kept
      where two files share it ('a_png', 'a_jpg').
  """

  path: pathlib.Path
  name: str


class UnreadableError(Exception):
  """A file that is not an image, or is damaged."""


def find(
  images: str | os.PathLike,
  without: str | os.PathLike | None = None,
  also: Sequence[str] = (),
) -> list[Photo]:
  """List the images of a folder and its subfolders, hidden files left out.

  Args:
    images: a folder; one image file of whatever suffix; or a glob, in which **
      stands for any folders.
    without: a folder that is left out: where the predictions go.
    also: further suffixes that are listed.

  Returns:
    Photos, sorted by path; no two names are equal on any file system.

  Raises:
    UserError: there is no image, or `images` is `without`.
  """
  images = pathlib.Path(images)
  if images.is_file():
    return [Photo(images, images.stem)]
  skipped = pathlib.Path(without).resolve() if without else None
  suffixes = (*SUFFIXES, *also)
  if images.is_dir():
    if images.resolve() == skipped:
      raise UserError(
        f'{images} is searched for images: write to another folder, so that '
        'the predictions are not mixed with them.'
      )
    root, paths = images, _in_folder(images, skipped, suffixes)
  elif glob.has_magic(str(images)):
    root, paths = _matching(images, skipped, suffixes)
  else:
    raise UserError(f'{images} is neither a folder nor a file.')
  if not paths:
    kinds = ', '.join(suffix[1:] for suffix in suffixes)
    where = f'{images} and its subfolders hold'
    where = where if images.is_dir() else f'{images} matches'
    raise UserError(f'{where} no image ({kinds}).')
  paths.sort()
  return [
    Photo(path, name)
    for path, name in zip(paths, _names(paths, root), strict=True)
  ]


def _in_folder(images, skipped, suffixes):
  """Return the paths of a folder's images."""
  paths = []
  for folder, subfolders, names in os.walk(images):
    folder = pathlib.Path(folder)
    subfolders[:] = [
      name
      for name in subfolders
      if not name.startswith('.') and (folder / name).resolve() != skipped
    ]
    paths += [
      folder / name
      for name in names
      if name.lower().endswith(suffixes) and not name.startswith('.')
    ]
  return paths


def _matching(pattern, skipped, suffixes):
  """Return the folder below which a glob looks, and the images it matches."""
  plain = itertools.takewhile(lambda p: not glob.has_magic(p), pattern.parts)
  root = pathlib.Path(*plain)
  found = map(pathlib.Path, glob.iglob(str(pattern), recursive=True))
  return root, [
    path
    for path in found
    if path.name.lower().endswith(suffixes)
    and path.is_file()
    and skipped not in path.resolve().parents
  ]


def _names(paths, root):
  """Relative names without suffix, unique even where case does not count."""
  stems = [path.relative_to(root).with_suffix('').as_posix() for path in paths]
  count = collections.Counter(stem.casefold() for stem in stems)
  taken = {key for key, n in count.items() if n == 1}
  names = []
  for path, stem in zip(paths, stems, strict=True):
    name = stem
    if count[stem.casefold()] > 1:
      name = base = f'{stem}_{path.suffix[1:]}'
      n = 1
      while name.casefold() in taken:
        n += 1
        name = f'{base}_{n}'
      taken.add(name.casefold())
    names.append(name)
  return names


def read(path: str | os.PathLike) -> np.ndarray:
  """Read an image as it is meant to be seen: u8[H, W, 3] RGB.

  It is turned upright by its EXIF orientation; transparent pixels show white;
  16-bit grey is scaled to 8 bits; of an animation the first frame is read.

  Raises:
    UnreadableError: it is not an image, is damaged, or holds floats.
  """
  try:
    with _open(path) as image:
      image.load()
      return np.asarray(_rgb(_upright(image)))
  except Exception as e:  # Pillow's decoders raise whatever they meet.
    raise UnreadableError(getattr(e, 'strerror', None) or str(e)) from e


def size(path: str | os.PathLike) -> tuple[int, int] | None:
  """Return an image's (height, width), upright, from its header.

  None where it is not an image.
  """
  try:
    with _open(path) as image:
      width, height = image.size
      turned = image.getexif().get(ExifTags.Base.Orientation, 1) in _LYING
  except Exception:  # Pillow's decoders raise whatever they meet.
    return None
  return (width, height) if turned else (height, width)


def _open(path):
  """Open an image of any size: Pillow's limit is against strangers' files."""
  with _opening, _without_limit():
    return Image.open(path)


@contextlib.contextmanager
def _without_limit():
  limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
  try:
    yield
  finally:
    Image.MAX_IMAGE_PIXELS = limit


def _upright(image):
  try:
    return ImageOps.exif_transpose(image)
  except Exception:  # Damaged EXIF data tells no orientation.
    return image


def _rgb(image):
  if image.mode == 'F':
    raise ValueError('floating-point images have no agreed range')
  if image.mode.startswith('I'):
    # Pillow's convert clips 16-bit grey at 255 instead of scaling it.
    values = np.clip(np.asarray(image, np.int64), 0, 65535)
    image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image)
  return image.convert('RGB')
