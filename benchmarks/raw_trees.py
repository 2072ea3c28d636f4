"""Small trees of rendered scenes in the exact raw encodings of real datasets.

The tests prepare, verify, train and evaluate on them, so that every file format
is covered without a download:

    write_raw_tree('synthia', 'raw/synthia', count=3, size=(96, 192))
"""

import io
import os
import pathlib
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from data.streets import render
from jaxuda import labels

CITIES = ('Rome', 'Rio', 'Tokyo', 'Taipei')


def write_raw_tree(
  name: str, root: str | os.PathLike, count: int, size: tuple[int, int]
) -> None:
  """Write a tree as the download of a dataset unpacks.

  Args:
    name: 'gta5', 'synthia', 'cityscapes', 'crosscity', 'bdd100k' or 'camvid'.
      The first two are scenes of `game`, the others of `city`.
    root: folder of the tree; made where missing.
    count: images in each split (and city).
    size: (H, W) of images and labels.

  Raises:
    KeyError: there is no such dataset.
  """
  write = {
    'gta5': _gta5,
    'synthia': _synthia,
    'cityscapes': _cityscapes,
    'crosscity': _crosscity,
    'bdd100k': _bdd100k,
    'camvid': _camvid,
  }[name]
  domain = 'game' if name in ('gta5', 'synthia') else 'city'

  def scene(index, split='train'):
    return render.render(domain, index, size, split)

  write(pathlib.Path(root), count, scene)


Scene = Callable[..., tuple[np.ndarray, np.ndarray]]


def _gta5(root, count, scene: Scene):
  """Palette PNGs whose indices are the Cityscapes ids."""
  palette = np.zeros((256, 3), np.uint8)
  colors = labels.space('cityscapes19').colors
  palette[[*labels.ids_of('cityscapes').values()]] = colors
  for i in range(count):
    image, label = scene(i)
    _save(root / 'images' / f'{i + 1:05}.png', image)
    picture = Image.fromarray(label).convert('P')
    picture.putdata(label.ravel())
    picture.putpalette(palette.ravel().tolist())
    _save(root / 'labels' / f'{i + 1:05}.png', picture)


def _synthia(root, count, scene: Scene):
  """16-bit RGB PNGs: class in R, instance number in G, nothing in B."""
  classes = np.zeros(256, np.uint16)
  ids = labels.ids_of('synthia')
  classes[[*labels.ids_of('cityscapes').values()]] = [*ids.values()]
  # Only things that move are numbered; here a whole class is one instance.
  moving = [i for name, i in ids.items() if name in _MOVING]
  root = root / 'RAND_CITYSCAPES'
  for i in range(count):
    image, label = scene(i)
    _save(root / 'RGB' / f'{i:07}.png', image)
    found = classes[label]
    instances = np.where(np.isin(found, moving), 100 + found, 0)
    path = root / 'GT' / 'LABELS' / f'{i:07}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png16(np.stack([found, instances, 0 * found], axis=-1)))


_MOVING = ('person', 'rider', 'car', 'truck', 'bus', 'motorcycle', 'bicycle')


def _cityscapes(root, count, scene: Scene):
  """8-bit grey labelIds, next to the colour labels of the same archive."""
  to_19 = labels.id_map('cityscapes', 'cityscapes19')
  for split, city in (('train', 'aachen'), ('val', 'frankfurt')):
    for i in range(count):
      image, label = scene(i, split)
      stem = f'{city}_{i:06}_000019'
      path = root / 'leftImg8bit' / split / city / f'{stem}_leftImg8bit.png'
      _save(path, image)
      fine = root / 'gtFine' / split / city
      _save(fine / f'{stem}_gtFine_labelIds.png', label)
      color = labels.colorize(to_19[label], labels.space('cityscapes19'))
      _save(fine / f'{stem}_gtFine_color.png', color)


def _crosscity(root, count, scene: Scene):
  """Four cities, each with its own scenes; only Test has labels."""
  for k, city in enumerate(CITIES):
    for i in range(count):
      index = k * count + i
      image, _ = scene(index)
      _save(root / city / 'Images' / 'Train' / f'pano_{i:05}.jpg', image)
      image, label = scene(index, 'val')
      _save(root / city / 'Images' / 'Test' / f'pano_{i:05}.png', image)
      path = root / city / 'Labels' / 'Test' / f'pano_{i:05}_eval.png'
      _save(path, label)


def _bdd100k(root, count, scene: Scene):
  """8-bit grey indices of the 19 classes, 255 for none."""
  indices = labels.id_map('cityscapes', 'cityscapes19')
  root = root / 'bdd100k'
  for split in ('train', 'val'):
    for i in range(count):
      image, label = scene(i, split)
      name = f'7d06fefd-{i:08x}'
      _save(root / 'images' / '10k' / split / f'{name}.jpg', image)
      masks = root / 'labels' / 'sem_seg' / 'masks' / split
      _save(masks / f'{name}.png', indices[label])


def _camvid(root, count, scene: Scene):
  """8-bit grey ids 0..11, the last for what has no class."""
  ids = labels.id_map('cityscapes', 'camvid11')
  void = len(labels.space('camvid11').classes)
  ids = np.where(ids == labels.IGNORE, void, ids).astype(np.uint8)
  splits = {'train': 'train', 'val': 'val', 'test': 'tune'}
  for split, own in splits.items():
    for i in range(count):
      image, label = scene(i, own)
      name = f'Seq05VD_f{30 * i:05}.png'
      _save(root / split / name, image)
      _save(root / f'{split}annot' / name, ids[label])


def png16(pixels: np.ndarray) -> bytes:
  """Encode u16[H, W, 3] as a 16-bit RGB PNG, which Pillow cannot."""
  height, width, _ = pixels.shape
  rows = pixels.astype('>u2').reshape(height, -1).view(np.uint8)
  # Each row is preceded by its filter, 0: none.
  raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
  out = io.BytesIO(b'\x89PNG\r\n\x1a\n')
  out.seek(0, io.SEEK_END)
  for kind, body in (
    (b'IHDR', struct.pack('>2I5B', width, height, 16, 2, 0, 0, 0)),
    (b'IDAT', zlib.compress(raw.tobytes())),
    (b'IEND', b''),
  ):
    checksum = zlib.crc32(kind + body)
    out.write(struct.pack('>I', len(body)) + kind + body)
    out.write(struct.pack('>I', checksum))
  return out.getvalue()


def _save(path, pixels):
  path.parent.mkdir(parents=True, exist_ok=True)
  if isinstance(pixels, np.ndarray):
    pixels = Image.fromarray(pixels)
  pixels.save(path)
