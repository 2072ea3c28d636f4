"""Draw a sheet of scenes: `game` above, `city` below, labels under images.

python -m data.streets.gallery --output=docs/streets.png
"""

import pathlib
import sys

import numpy as np
from PIL import Image

from data.streets import render
from jaxuda import labels
from jaxuda.utils import cli, files

GAP = 4  # pixels
# Training scenes that show much: many classes, all kinds of camera.
SHOWN = {'game': [10, 26, 29, 16], 'city': [2, 16, 35, 26]}


def sheet(indices: dict[str, list[int]], size: tuple[int, int]) -> np.ndarray:
  """Return u8[H, W, 3]: a column for each index, white between the pictures.

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
      color = labels.colorize(to_19[label], labels.space('cityscapes19'))
      columns.append(_padded([image, color], axis=0))
    bands.append(_padded(columns, axis=1))
  return _padded(bands, axis=0)


def _padded(pictures, axis):
  """Join pictures along an axis with a white gap between them."""
  gap = [(0, 0)] * 3
  gap[axis] = (0, GAP)
  padded = [np.pad(p, gap, constant_values=255) for p in pictures[:-1]]
  return np.concatenate([*padded, pictures[-1]], axis)


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.text('output', None, 'PNG file to write.')
  return command


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  command.require('output')
  picture = sheet(SHOWN, (120, 240))
  output = pathlib.Path(command.values.output)
  image = Image.fromarray(picture)
  files.write(output, lambda path: image.save(path, 'PNG', optimize=True))
  print(f'{output}: {picture.shape[1]}x{picture.shape[0]}')
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
