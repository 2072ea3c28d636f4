"""Pixels: which reader a file needs, reading, resizing and encoding.

No single reader gets the class ids out of every label format. Pillow returns
the indices of a palette PNG and zeros for a 16-bit RGB one; TensorFlow is right
for the latter and returns colours for the former. Wrong ids raise no error, so
the reader is chosen from the PNG header and checked against what the dataset
must have.
"""

import io
import struct
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from jaxuda.datasets import photos
from jaxuda.datasets.files import Problem
from jaxuda.datasets.specs import Size
from jaxuda.utils.tensorflow import import_tensorflow

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_COLOR_TYPES = {0: 'grey', 2: 'RGB', 3: 'palette', 4: 'grey+alpha', 6: 'RGBA'}
# Label formats: (bit depth, colour type) of the PNG header.
LABEL_FORMATS = {
  'grey8': (8, 0),
  'palette8': (8, 3),
  'palette4': (4, 3),
  'palette2': (2, 3),
  'palette1': (1, 3),
  'rgb16': (16, 2),
  'rgb8': (8, 2),  # painted in the classes' colours
  'rgba8': (8, 6),  # so, too; of which the last channel is not read
}
DEFAULT_JPEG_QUALITY = 95


def read_image(data: bytes, ref: str) -> Image.Image:
  """Decode an image file as every original loader does.

  That is Pillow's `convert('RGB')`: grey becomes RGB, alpha is dropped, an EXIF
  rotation is ignored.

  Args:
    data: contents of a PNG or JPEG file.
    ref: names the file in messages.

  Raises:
    Problem: damaged, truncated, neither PNG nor JPEG, or 16 bits a channel.
  """
  if data.startswith(_SIGNATURE):
    depth, color = _png_format(data, ref)
    if depth == 16:
      raise Problem(
        'wrong encoding',
        ref,
        f'is a 16-bit {color} PNG; images have 8 bits a channel.',
      )
  elif not data.startswith(b'\xff\xd8'):
    raise Problem('unreadable', ref, 'is neither a PNG nor a JPEG file.')
  image = _decode(data, ref)
  return image if image.mode == 'RGB' else image.convert('RGB')


def read_photo(data: bytes, ref: str) -> Image.Image:
  """Decode an image of any format, upright, as `predict` does (photos.py).

  Raises:
    Problem: it is not an image, or is damaged.
  """
  try:
    return Image.fromarray(photos.read(io.BytesIO(data), ref))
  except photos.UnreadableError as e:
    raise Problem('unreadable', ref, f'cannot be decoded: {e}.') from None


def read_label(
  data: bytes,
  ref: str,
  dataset: str,
  formats: tuple[str, ...],
  colors: Mapping[tuple[int, int, int], int] | None = None,
) -> Image.Image:
  """Decode a label file to its raw class ids.

  Args:
    data: contents of a PNG file.
    ref: names the file in messages.
    dataset: names the dataset in messages.
    formats: keys of `LABEL_FORMATS` that this dataset's labels have.
    colors: of own data: RGB -> id of labels that are painted.

  Returns:
    An 8-bit grey ('L') image of ids.

  Raises:
    Problem: damaged, truncated, not a PNG, in another encoding than the
      dataset's, or with an id above 255.
  """
  if not data.startswith(_SIGNATURE):
    raise Problem('wrong encoding', ref, 'labels are PNG files; this is not.')
  depth, color = _png_format(data, ref)
  for name in formats:
    wanted_depth, wanted_color = LABEL_FORMATS[name]
    if (depth, color) == (wanted_depth, _COLOR_TYPES[wanted_color]):
      if name in ('rgb8', 'rgba8'):
        return _ids_of_colors(data, ref, colors or {})
      return _ids_rgb16(data, ref) if name == 'rgb16' else _ids8(data, ref)
  text = f'is a {depth}-bit {color} PNG; save it as 8-bit grey, palette or RGB.'
  if colors is None:
    wanted = ' or '.join(
      f'{d}-bit {_COLOR_TYPES[c]}' for d, c in map(LABEL_FORMATS.get, formats)
    )
    text = (
      f'is a {depth}-bit {color} PNG, but labels of {dataset} are {wanted} '
      'PNGs; a converted copy has lost its class ids: take the file as '
      'downloaded.'
    )
  raise Problem('wrong encoding', ref, text)


def resize_image(image: Image.Image, size: Size) -> Image.Image:
  """Resize as the original loaders do: Pillow BICUBIC with antialiasing."""
  if size is None:
    return image
  return image.resize((size[1], size[0]), Image.Resampling.BICUBIC)


def resize_label(label: Image.Image, size: Size) -> Image.Image:
  """Resize ids as the original loaders do: Pillow NEAREST."""
  if size is None:
    return label
  return label.resize((size[1], size[0]), Image.Resampling.NEAREST)


def encode_image(image: Image.Image, jpeg: int | None) -> bytes:
  """Encode RGB losslessly as PNG, or as JPEG of the quality given."""
  out = io.BytesIO()
  if jpeg is None:
    # Run-length matching at level 1 is 4x faster than Pillow's default and, on
    # row-filtered photographs and renderings, no larger.
    image.save(out, 'PNG', compress_level=1, compress_type=3)
  else:
    image.save(out, 'JPEG', quality=jpeg, subsampling=0)
  return out.getvalue()


def encode_label(label: Image.Image) -> bytes:
  """Encode ids as an 8-bit grey PNG."""
  out = io.BytesIO()
  label.save(out, 'PNG')
  return out.getvalue()


def _png_format(data, ref):
  """Return (bit depth, colour type) of a PNG; check that it is intact."""
  position, depth, color = len(_SIGNATURE), 0, 0
  kind = b''
  while kind != b'IEND':
    head = data[position : position + 8]
    length, kind = struct.unpack('>I4s', head) if len(head) == 8 else (0, b'')
    body = data[position + 4 : position + 8 + length]
    checksum = data[position + 8 + length : position + 12 + length]
    if len(checksum) < 4:
      raise Problem('unreadable', ref, f'is truncated at byte {len(data)}.')
    if zlib.crc32(body) != int.from_bytes(checksum, 'big'):
      raise Problem('unreadable', ref, f'is damaged near byte {position}.')
    if kind == b'IHDR' and length == 13:
      depth, color = body[12], body[13]
    position += 12 + length
  return depth, _COLOR_TYPES.get(color, f'type {color}')


def _decode(data, ref):
  try:
    image = Image.open(io.BytesIO(data))
    image.load()
  except (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    Image.DecompressionBombError,
  ) as e:
    raise Problem('unreadable', ref, f'cannot be decoded: {e}.') from None
  return image


def _ids8(data, ref):
  image = _decode(data, ref)
  # A palette image holds indices: the same bytes, read as grey, are the ids.
  return Image.frombytes('L', image.size, image.tobytes())


def _ids_rgb16(data, ref):
  tf = import_tensorflow()
  try:
    pixels = tf.io.decode_png(data, channels=3, dtype=tf.uint16).numpy()
  except tf.errors.InvalidArgumentError as e:
    reason = str(e).partition('\n')[0]
    raise Problem('unreadable', ref, f'cannot be decoded: {reason}') from None
  ids = pixels[..., 0]
  if ids.max() > 255:
    values, counts = np.unique(ids[ids > 255], return_counts=True)
    outside = dict(zip(values.tolist(), counts.tolist(), strict=True))
    raise Problem(
      'unknown ids',
      ref,
      f'has ids above 255: {describe_ids(outside)}.',
      outside,
    )
  return Image.fromarray(ids.astype(np.uint8))


def _ids_of_colors(data, ref, colors):
  """Return the ids of a label that is painted in the classes' colours."""
  pixels = np.asarray(_decode(data, ref), np.uint32)
  numbers = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
  ids = {r << 16 | g << 8 | b: i for (r, g, b), i in colors.items()}
  there, where = np.unique(numbers, return_inverse=True)
  there = there.tolist()
  if unknown := [n for n in there if n not in ids]:
    listed = ', '.join(f'#{n:06x}' for n in unknown[:6])
    more = f' and {len(unknown) - 6} more' if len(unknown) > 6 else ''
    text = f'has colours that no class has: {listed}{more}.'
    raise Problem('unknown colors', ref, text)
  table = np.array([ids[n] for n in there], np.uint8)
  return Image.fromarray(table[where].reshape(numbers.shape))


def describe_ids(counts: dict[int, int]) -> str:
  """Return `'35 (1,200 pixels)'` for `{35: 1200}`; write out six at most."""
  shown = [f'{i} ({n:,} pixels)' for i, n in list(counts.items())[:6]]
  more = len(counts) - len(shown)
  return ', '.join(shown) + (f' and {more} more' if more else '')
