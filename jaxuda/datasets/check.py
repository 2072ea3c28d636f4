"""What may be wrong with one example; `prepare` and `verify` share it."""

from typing import NamedTuple

from PIL import Image

from jaxuda import labels as class_table
from jaxuda.datasets import files, images, own
from jaxuda.datasets.files import Problem
from jaxuda.datasets.specs import module

# Found, reported, and no reason to refuse.
WARNINGS = ('published mismatch', 'no such split', 'no labels', 'partial')
ALL_IGNORED = 'all ignored'


class Loaded(NamedTuple):
  """An example's pixels as far as they could be read, and what is wrong."""

  image: Image.Image | None  # RGB
  label: Image.Image | None  # raw ids, 8-bit grey
  problems: list[Problem]

  def error(self, allowed: tuple[str, ...] = ()) -> Problem | None:
    """Return the first problem that is more than a warning, if any.

    Args:
      allowed: further kinds of problems to pass over.
    """
    passed = (*WARNINGS, *allowed)
    return next((p for p in self.problems if p.kind not in passed), None)


def load(
  name: str, variant: str, example: files.Example, labelled: bool
) -> Loaded:
  """Read and check one raw example of a dataset; raise nothing."""
  problems = list(missing(example, labelled))
  image = label = None
  if example.image is not None:
    image = _attempt(problems, _read_image, example.image, name)
  if example.label is not None:
    label = _attempt(problems, _read_label, example.label, name)
  if label is not None:
    problems += _check_ids(name, label, example.label)
  if image is not None and label is not None and image.size != label.size:
    problems.append(_size_problem(name, variant, example, image, label))
  return Loaded(image, label, problems)


def missing(example: files.Example, labelled: bool) -> list[Problem]:
  """Return the missing half of a pair, if any; read no file."""
  if example.image is None:
    return [Problem('missing pair', example.label, 'has no image.')]
  if labelled and example.label is None:
    return [Problem('missing pair', example.image, 'has no label.')]
  return []


def unknown_ids(name: str, counts: list[int]) -> dict[int, int]:
  """Return the ids that no file of this dataset may have.

  Args:
    name: of the dataset.
    counts: of the 256 ids, as from `Image.histogram`.

  Returns:
    id -> number of its pixels.
  """
  described = module(name)
  known = class_table.known_ids(described.ENCODING) | described.ALSO_KNOWN
  return {i: n for i, n in enumerate(counts) if n and i not in known}


def _attempt(problems, read, *args):
  try:
    return read(*args)
  except Problem as problem:
    problems.append(problem)
    return None


def _read_image(ref, name):
  if own.is_own(name):
    return images.read_photo(files.read(ref), ref)
  return images.read_image(files.read(ref), ref)


def _read_label(ref, name):
  described, data = module(name), files.read(ref)
  formats = described.LABEL_FORMATS
  colors = described.colors if own.is_own(name) else None
  return images.read_label(data, ref, name, formats, colors)


def _check_ids(name, label, ref):
  encoding = module(name).ENCODING
  counts = label.histogram()
  outside = unknown_ids(name, counts)
  if outside:
    yield Problem(
      'unknown ids',
      ref,
      f'has ids outside the {encoding} map: {images.describe_ids(outside)}.',
      outside,
    )
  if not any(counts[i] for i in class_table.ids_of(encoding).values()):
    yield Problem(ALL_IGNORED, ref, 'has no pixel of any class.')


def _size_problem(name, variant, example, image, label):
  # A translated image has whatever size its network works at.
  published = variant == 'translated' or example.id in module(name).SIZES_DIFFER
  return Problem(
    'published mismatch' if published else 'size mismatch',
    example.label,
    f'is {_size(label)}, its image {example.image} is {_size(image)}'
    + (' (so published; each is resized by itself).' if published else '.'),
  )


def _size(image):
  return f'{image.height}x{image.width}'
