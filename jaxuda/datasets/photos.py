"""Image files of any kind: finding, naming and reading them."""

import collections
import contextlib
import functools
import glob
import itertools
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxuda.datasets import files
from jaxuda.utils.errors import UserError
from jaxuda.utils.names import printable

# Of Pillow's formats those of which it tells the name alone, or which another
# program draws.
_UNREAD = ('BUFR', 'EPS', 'GRIB', 'HDF5', 'MPEG', 'WMF')
_LYING = (5, 6, 7, 8)  # EXIF orientations that swap the sides
_ANIMATED = ('AVIF', 'GIF', 'PNG', 'TIFF', 'WEBP')  # and not a camera's MPO
MOST_PIXELS = 2**29  # of an image: 5 GiB while it is read
_LARGE = 2**26
_opening = threading.Lock()
_one_large_at_a_time = threading.Lock()


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


@functools.cache
def suffixes() -> frozenset[str]:
  """Return the suffixes of the formats that Pillow reads, '.png' and so on."""
  return frozenset(
    suffix
    for suffix, kind in Image.registered_extensions().items()
    if kind in Image.OPEN and kind not in _UNREAD
  )


def find(
  images: str | os.PathLike,
  without: str | os.PathLike | None = None,
  also: Sequence[str] = (),
) -> list[Photo]:
  """List the images of a folder and its subfolders, as `walk` finds them.

  How many files are passed over is printed.

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
  if images.is_dir():
    if images.resolve() == skipped:
      raise UserError(
        f'{images} is searched for images: write to another folder, so that '
        'the predictions are not mixed with them.'
      )
    root, paths = images, [*walk(images, skipped)]
  elif glob.has_magic(str(images)):
    root, paths = _matching(images, skipped)
  else:
    raise UserError(f'{images} is neither a folder nor a file.')
  found, others = chosen(paths, {*suffixes(), *also})
  if not found:
    where = f'{images} and its subfolders hold'
    where = where if images.is_dir() else f'{images} matches'
    rest = f', but {others}' if others else ''
    raise UserError(f'{where} no image that Pillow reads{rest}.')
  if others:
    print_once(f'{images}: passed over {others}')
  found.sort()
  return [
    Photo(path, name)
    for path, name in zip(found, _names(found, root), strict=True)
  ]


def chosen(
  paths: Iterable[pathlib.Path], wanted: Iterable[str]
) -> tuple[list[pathlib.Path], str]:
  """Return the files that have a wanted suffix, and what the others are.

  Args:
    paths: of files.
    wanted: suffixes in small letters.

  Returns:
    The files; '3 files (2 .heic, 1 .txt)', or '' where there are no others.
  """
  wanted, found, others = frozenset(wanted), [], collections.Counter()
  for path in paths:
    if path.suffix.lower() in wanted:
      found.append(path)
    else:
      others[path.suffix.lower() or path.name] += 1
  if not others:
    return found, ''
  kinds = ', '.join(f'{n:,} {kind}' for kind, n in others.most_common(6))
  more = ', ...' if len(others) > 6 else ''
  return found, f'{others.total():,} files ({kinds}{more})'


# Data of one's own is listed several times, to be counted, sized and read. Not
# console.print_once, which needs jax.
@functools.cache
def print_once(text: str) -> None:
  """Print a line that has not been printed before."""
  print(printable(text), flush=True)


def walk(
  folder: pathlib.Path, skipped: pathlib.Path | None = None
) -> Iterator[pathlib.Path]:
  """Yield the files of a folder and of its subfolders.

  Neither hidden ones nor what is in a linked folder, of which the link is
  yielded: such folders may lead in circles.

  Args:
    folder: is searched, whether or not it is a link.
    skipped: a subfolder, resolved, that is not.

  Raises:
    UserError: a folder cannot be read.
  """

  def refuse(error):
    raise UserError(f'{error.filename}: cannot be read: {error.strerror}.')

  for place, below, names in os.walk(folder, onerror=refuse):
    here = pathlib.Path(place)
    below[:] = sorted(
      name
      for name in below
      if not name.startswith('.') and (here / name).resolve() != skipped
    )
    links = [name for name in below if (here / name).is_symlink()]
    for name in sorted([*names, *links]):
      if not name.startswith('.'):
        yield here / name


def _matching(pattern, skipped):
  """Return the folder below which a glob looks, and the files it matches."""
  plain = itertools.takewhile(lambda p: not glob.has_magic(p), pattern.parts)
  root = pathlib.Path(*plain)
  found = map(pathlib.Path, glob.iglob(str(pattern), recursive=True))
  return root, [
    path
    for path in found
    if path.is_file() and skipped not in path.resolve().parents
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


def read(path: str | os.PathLike | BinaryIO, name: str = '') -> np.ndarray:
  """Read an image as it is meant to be seen: u8[H, W, 3] RGB.

  It is turned upright by its EXIF orientation; transparent pixels show white;
  16-bit grey is scaled to 8 bits; of an animation the first frame is read,
  which is printed. It takes about 10 bytes a pixel, of several large images at
  a time no more than of one.

  Args:
    path: of the file; or its content.
    name: of the content, for what is printed.

  Raises:
    UnreadableError: it is not an image, is damaged, holds floats, or has more
      than MOST_PIXELS.
  """
  try:
    with _open(path) as image, _turn(image):
      if image.format in _ANIMATED and getattr(image, 'n_frames', 1) > 1:
        frames = f'the first of its {image.n_frames} frames is read'
        print_once(f'{name or path}: {frames}')
      image.load()
      return np.asarray(_rgb(_upright(image)))
  except Exception as e:  # Pillow's decoders raise whatever they meet.
    reason = getattr(e, 'strerror', None) or str(e) or type(e).__name__
    raise UnreadableError(reason) from e


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
  """Open an image: Pillow's limit would refuse those of large cameras."""
  if isinstance(path, str | os.PathLike):
    files.check_regular(path)
  with _opening, _without_limit():
    image = Image.open(path)
  if image.width * image.height > MOST_PIXELS:
    image.close()
    raise ValueError(
      f'{image.width} x {image.height} pixels are more than {MOST_PIXELS:,}'
    )
  return image


def _turn(image):
  """Return what is held while an image is decoded: of large ones a lock."""
  large = image.width * image.height > _LARGE
  return _one_large_at_a_time if large else contextlib.nullcontext()


@contextlib.contextmanager
def _without_limit():
  limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
  try:
    yield
  finally:
    Image.MAX_IMAGE_PIXELS = limit


def _upright(image):
  with contextlib.suppress(Exception):  # damaged EXIF tells no orientation
    ImageOps.exif_transpose(image, in_place=True)
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
  return image if image.mode == 'RGB' else image.convert('RGB')
