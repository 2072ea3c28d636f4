"""Small raw trees of random pixels, whose contents the tests know."""

import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks import raw_trees
from jaxuda import labels

SIZE = (37, 61)  # odd on purpose
SPLITS = {
  'gta5': ('train',),
  'synthia': ('train',),
  'cityscapes': ('train', 'val'),
  'crosscity/rome': ('train', 'test'),
  'camvid': ('train', 'val', 'test'),
  'bdd100k': ('train', 'val'),
}


class Item(NamedTuple):
  """One example as it was written."""

  image: pathlib.Path
  label: pathlib.Path | None
  ids: np.ndarray | None  # u8[H, W]


def write(
  spec: str, root: pathlib.Path, count: int = 3, size: tuple[int, int] = SIZE
) -> dict[str, dict[str, Item]]:
  """Write a tree in a dataset's raw encoding.

  Returns:
    split -> id -> what was written.
  """
  name = spec.partition('/')[0]
  rng = np.random.default_rng(len(spec))
  tree = {}
  for split in SPLITS[spec]:
    tree[split] = {}
    for i in range(count):
      image = rng.integers(0, 256, (*size, 3), np.uint8)
      ids = _ids(rng, name, size)
      key, item = _WRITERS[name](root, split, i, image, ids)
      tree[split][key] = item
  return tree


def write_example(
  name: str,
  root: pathlib.Path,
  split: str,
  i: int,
  image: np.ndarray,
  ids: np.ndarray,
) -> None:
  """Add example number i, of ids in the dataset's own numbering."""
  _WRITERS[name](root, split, i, image, ids)


def _ids(rng, name, size):
  own = name in ('synthia', 'camvid', 'bdd100k')
  encoding = name if own else 'cityscapes'
  known = sorted(labels.known_ids(encoding))
  return rng.choice(known, size).astype(np.uint8)


def _gta5(root, split, i, image, ids):
  picture = Image.fromarray(ids)
  palette = Image.frombytes('P', picture.size, ids.tobytes())
  palette.putpalette([(7 * k) % 256 for k in range(768)])
  name = f'{i + 1:05}.png'
  return name[:-4], Item(
    save(root / 'images' / name, image),
    save(root / 'labels' / name, palette),
    ids,
  )


def _synthia(root, split, i, image, ids):
  name = f'{i:07}.png'
  path = root / 'GT' / 'LABELS' / name
  path.parent.mkdir(parents=True, exist_ok=True)
  instances = np.full_like(ids, 3)
  path.write_bytes(raw_trees.png16(np.stack([ids, instances, 0 * ids], -1)))
  return name[:-4], Item(save(root / 'RGB' / name, image), path, ids)


def _cityscapes(root, split, i, image, ids):
  city = {'train': 'aachen', 'val': 'lindau'}[split]
  stem = f'{city}_{i:06}_000019'
  fine = root / 'gtFine' / split / city
  save(fine / f'{stem}_gtFine_color.png', image)
  save(fine / f'{stem}_gtFine_instanceIds.png', ids)
  image_path = root / 'leftImg8bit' / split / city / f'{stem}_leftImg8bit.png'
  label_path = fine / f'{stem}_gtFine_labelIds.png'
  return stem, Item(save(image_path, image), save(label_path, ids), ids)


def _crosscity(root, split, i, image, ids):
  stem = f'pano_{i:05}_0_180'
  city = root / 'Rome'
  suffix = '.jpg' if split == 'train' or i == 0 else '.png'
  path = city / 'Images' / split.capitalize() / (stem + suffix)
  save(path, image)
  if split == 'train':
    return stem, Item(path, None, None)
  label = save(city / 'Labels' / 'Test' / f'{stem}_eval.png', ids)
  return stem, Item(path, label, ids)


def _camvid(root, split, i, image, ids):
  name = f'0016E5_{i:05}.png'
  return name[:-4], Item(
    save(root / split / name, image),
    save(root / f'{split}annot' / name, ids),
    ids,
  )


def _bdd100k(root, split, i, image, ids):
  stem = f'0004974f-{i:08x}'
  top = root / 'bdd100k'
  masks = top / 'labels' / 'sem_seg' / 'masks' / split
  return stem, Item(
    save(top / 'images' / '10k' / split / f'{stem}.jpg', image),
    save(masks / f'{stem}.png', ids),
    ids,
  )


_WRITERS = {
  'gta5': _gta5,
  'synthia': _synthia,
  'cityscapes': _cityscapes,
  'crosscity': _crosscity,
  'camvid': _camvid,
  'bdd100k': _bdd100k,
}


def save(path: pathlib.Path, pixels: np.ndarray | Image.Image) -> pathlib.Path:
  """Save pixels as an image file; make its folder."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if isinstance(pixels, np.ndarray):
    pixels = Image.fromarray(pixels)
  pixels.save(path)
  return path
