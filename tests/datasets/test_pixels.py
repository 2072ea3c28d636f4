"""Prepared pixels at the real datasets' sizes: Pillow's, to the bit."""

import numpy as np
import pytest
import raw_files
from PIL import Image
from records import pixels, read

from jaxuda import labels
from jaxuda.datasets import prepare

# Height and width of the files, and of what the papers train on.
SIZES = {
  'gta5': ((1052, 1914), (720, 1280)),
  'synthia': ((760, 1280), (760, 1280)),
  'cityscapes': ((1024, 2048), (512, 1024)),
}


def picture(size) -> np.ndarray:
  """Gradients, noise and hard edges side by side, each in all channels."""
  h, w = size
  rows, columns = np.mgrid[:h, :w]
  ramps = [rows * 255 // h, columns * 255 // w, (rows + columns) % 256]
  image = np.stack(ramps, -1)
  noise = np.random.default_rng(0).integers(0, 256, (h, w, 3))
  edges = 255 * (((rows // 7) ^ (columns // 5)) & 1)[..., None]
  third = w // 3
  image[:, third : 2 * third] = noise[:, third : 2 * third]
  image[:, 2 * third :] = edges[:, 2 * third :]
  return image.astype(np.uint8)


@pytest.mark.parametrize('name', SIZES)
def test_as_the_originals_loaders(name, tmp_path):
  """Images BICUBIC, labels NEAREST, on 8-bit values."""
  full, size = SIZES[name]
  image = picture(full)
  encoding = 'synthia' if name == 'synthia' else 'cityscapes'
  known = np.array(sorted(labels.known_ids(encoding)))
  rows, columns = np.mgrid[: full[0], : full[1]]
  ids = known[(rows // 3 + columns // 2) % len(known)].astype(np.uint8)
  splits = ('train', 'val') if name == 'cityscapes' else ('train',)
  for split in splits:
    raw_files.write_example(name, tmp_path / 'raw', split, 0, image, ids)
  folder = prepare.prepare(
    name,
    size=size,
    raw=tmp_path / 'raw',
    data_dir=tmp_path / 'out',
    allow_missing=True,
    workers=1,
  )
  [record] = read(folder, 'train')
  to = size[::-1]
  expected = Image.fromarray(image).resize(to, Image.BICUBIC)
  np.testing.assert_array_equal(pixels(record['image']), np.asarray(expected))
  expected = Image.fromarray(ids).resize(to, Image.NEAREST)
  np.testing.assert_array_equal(pixels(record['label']), np.asarray(expected))
