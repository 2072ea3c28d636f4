"""The robot's data of docs/add_a_dataset.md: few small rendered scenes.

The simulator's are painted, the robot's are photographs, some of them with ids.
"""

import pathlib
import re

import numpy as np
import tiny
from PIL import Image

from data.streets import render

PAGE = tiny.ROOT / 'docs/add_a_dataset.md'
SIZE = (48, 96)
CLASSES = ('ground', 'building', 'plant', 'sky', 'person', 'vehicle', 'sign')
# By hand: the class of each id of the rendered scenes, and its colour.
IDS = {
  7: 1, 8: 1, 22: 1, 11: 2, 12: 2, 13: 2, 21: 3, 23: 4, 24: 5, 25: 5, 26: 6,
  27: 6, 28: 6, 31: 6, 32: 6, 33: 6, 19: 7, 20: 7,
}  # fmt: skip
COLORS = np.array(
  [
    *((0, 0, 0), (128, 64, 128), (70, 70, 70), (107, 142, 35)),
    *((70, 130, 180), (220, 20, 60), (0, 0, 142), (220, 220, 0)),
  ],
  np.uint8,
)


def scene(domain: str, index: int, split: str):
  """Return an image, u8[H, W, 3], and its ids of the seven classes or 0."""
  image, raw = render.render(domain, index, SIZE, split)
  ids = np.zeros_like(raw)
  for old, new in IDS.items():
    ids[raw == old] = new
  return image, ids


def write(root: pathlib.Path, count: int = 4) -> None:
  """Write campus/ with the TOML files of the page, and photos/."""
  files = tables()
  for name, text in files.items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
  campus = root / 'campus'
  for i in range(count):
    image, ids = scene('game', i, 'train')
    save(campus / f'simulator/images/{i:04}.png', image)
    save(campus / f'simulator/labels/{i:04}.png', COLORS[ids])
    photo, _ = scene('city', i, 'train')
    save(campus / f'robot/monday/{"b/" * (i % 2)}{i}.jpg', photo)
    save(root / f'photos/{i}.webp', photo)
    photo, ids = scene('city', i, 'val')
    save(campus / f'robot/tests/{i:03}.jpg', photo)
    save(campus / f'robot/tests/{i:03}_ids.png', ids)


def tables() -> dict[str, str]:
  """Return the TOML files that the page shows, by their paths."""
  blocks = re.findall(
    r'`(campus/\w+\.toml)`[^`]*```toml\n(.*?)```', PAGE.read_text(), re.DOTALL
  )
  return dict(blocks)


def save(path: pathlib.Path, pixels: np.ndarray) -> None:
  """Write an image file; make its folder."""
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path)
