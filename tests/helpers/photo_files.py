"""Image files of noise, in any mode and format."""

import pathlib

import numpy as np
from PIL import Image


def noise(
  height: int, width: int, channels: int = 3, seed: int = 0
) -> np.ndarray:
  """Return random u8[height, width, channels], or u8[height, width] for 0."""
  shape = (height, width, channels) if channels else (height, width)
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(
  path: pathlib.Path, array: np.ndarray, mode: str | None = None, **options
) -> pathlib.Path:
  """Write an array as an image, in another of Pillow's modes if one is given.

  Args:
    path: of the file, whose suffix is the format; its folder is made.
    array: the pixels.
    mode: of the file.
    options: of Image.save.

  Returns:
    The path.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  image = Image.fromarray(array)
  (image.convert(mode) if mode else image).save(path, **options)
  return path
