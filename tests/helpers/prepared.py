"""Tiny prepared datasets as data.prepare writes them, and broken examples."""

import io
import pathlib

import numpy as np
import PIL.Image

from jaxuda.datasets import builder

SIZE = (24, 48)  # (height, width) of `noise`


def png(pixels: np.ndarray) -> bytes:
  """Encode u8[H, W] or u8[H, W, 3] as a PNG file."""
  file = io.BytesIO()
  PIL.Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()


def write(
  data_dir: pathlib.Path,
  spec: str,
  size: tuple[int, int] | None,
  splits: dict[str, list[dict[str, bytes]]],
  jpeg: bool = False,
) -> pathlib.Path:
  """Write the examples of each split as they are; return their folder."""
  return builder.write(
    spec,
    size,
    data_dir,
    jpeg=95 if jpeg else None,
    counts={split: len(examples) for split, examples in splits.items()},
    has={
      key: [
        split
        for split, examples in splits.items()
        if any(example.get(key) for example in examples)
      ]
      for key in ('label', 'label_full')
    },
    generate=splits.__getitem__,
    metadata={},
  )


def example(
  name: str,
  image: np.ndarray,
  label: np.ndarray | None = None,
  label_full: np.ndarray | None = None,
) -> dict[str, bytes]:
  """Return one example as it is stored; None for an absent feature."""
  pictures = {'image': image, 'label': label, 'label_full': label_full}
  stored = {k: b'' if v is None else png(v) for k, v in pictures.items()}
  return stored | {'id': name.encode()}


def noise(i: int, **changed: bytes) -> dict[str, bytes]:
  """Return labelled example i: noise, but its first pixel is (i, i, i).

  Args:
    i: its number.
    changed: features that replace its own.
  """
  rng = np.random.default_rng(i)
  image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
  image[0, 0] = i
  label = rng.integers(0, 34, SIZE, np.uint8)
  return example(f'frame_{i}', image, label) | changed
