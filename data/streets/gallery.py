"""Draws a sheet of scenes: `game` above, `city` below, labels under images.

python -m data.streets.gallery --output=docs/streets.png
"""

import argparse
import pathlib
import sys

import numpy as np
from PIL import Image

from data.streets import render
from jaxuda import labels
from jaxuda.utils.cli import run_cli
from jaxuda.utils.errors import UserError

GAP = 4  # pixels
# Training scenes that show much: many classes, all kinds of camera.
SHOWN = {'game': [10, 26, 29, 16], 'city': [2, 16, 35, 26]}


def sheet(indices: dict[str, list[int]], size: tuple[int, int]) -> np.ndarray:
  """u8[H, W, 3]: one column for each index, white between the pictures.

  Args:
    indices: domain -> scenes of its 'train' split, equally many.
    size: (H, W) of each scene.
  """
  to_19 = labels.id_map('cityscapes', 'cityscapes19')
  bands = []
  for domain, scenes in indices.items():
    columns = []
    for index in scenes:
      image, label = render.render(domain, index, size)
      color = labels.colorize(to_19[label], 'cityscapes19')
      columns.append(_padded([image, color], axis=0))
    bands.append(_padded(columns, axis=1))
  return _padded(bands, axis=0)


def _padded(pictures, axis):
  """Joins pictures along an axis with a white gap between them."""
  gap = [(0, 0)] * 3
  gap[axis] = (0, GAP)
  padded = [np.pad(p, gap, constant_values=255) for p in pictures[:-1]]
  return np.concatenate([*padded, pictures[-1]], axis)


def main(argv: list[str]) -> int:
  """The command line."""
  parser = argparse.ArgumentParser(
    prog='python -m data.streets.gallery', description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )  # fmt: skip
  parser.add_argument('--output', required=True, help='PNG file to write')
  args = parser.parse_args(argv)
  picture = sheet(SHOWN, (120, 240))
  output = pathlib.Path(args.output)
  try:
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(output, 'PNG', optimize=True)
  except OSError as e:
    raise UserError(f'--output={output} cannot be written: {e}.') from None
  print(f'{output}: {picture.shape[1]}x{picture.shape[0]}')
  return 0


if __name__ == '__main__':
  run_cli(main, sys.argv[1:])
