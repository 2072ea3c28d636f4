"""Prepared records, read back by TFDS and Pillow."""

import io
import pathlib

import numpy as np
from PIL import Image

from jaxuda.utils import tensorflow as tf_lib


def read(folder: pathlib.Path, split: str) -> list[dict[str, bytes]]:
  """Return every record of a split, through TFDS's own reader."""
  builder = tf_lib.import_tfds().builder_from_directory(folder)
  return list(builder.as_data_source(split))


def pixels(data: bytes) -> np.ndarray:
  """Decode a PNG or JPEG file."""
  return np.asarray(Image.open(io.BytesIO(data)))
