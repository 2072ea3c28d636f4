"""Prepared records, read back by TFDS and Pillow."""

import io
import pathlib

import numpy as np
from PIL import Image

from jaxuda.datasets import features
from jaxuda.utils import tensorflow as tf_lib


def read(folder: pathlib.Path, split: str) -> list[dict[str, bytes]]:
  """Return every record of a split as it is stored, by TFDS's own reader."""
  tfds = tf_lib.import_tfds()
  source = tfds.builder_from_directory(folder).as_data_source(
    split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )
  return [features.parse(bytes(record)) for record in source]


def pixels(data: bytes) -> np.ndarray:
  """Decode a PNG or JPEG file."""
  return np.asarray(Image.open(io.BytesIO(data)))
