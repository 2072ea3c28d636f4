"""What a network predicted behind a folder of pseudo labels, image by image."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxuda.datasets import stored
from jaxuda.utils import sealed

FILE = 'predictions.json'
_FORM = sealed.form(
  {
    'pixels': sealed.named(sealed.COUNT),
    'entropy': {'type': 'array', 'items': sealed.NUMBER},
    'present': {
      'type': 'array',
      'items': {'type': 'array', 'items': sealed.TEXT},
    },
  },
  {},
)


def write(
  folder: pathlib.Path,
  pixels: Mapping[str, int],
  entropy: Sequence[float],
  present: Sequence[Sequence[str]],
) -> None:
  """Write what was predicted beside the records.

  Args:
    folder: of the pseudo labels.
    pixels: how many each class had, before any threshold.
    entropy: of each image, in the records' order: the mean over its pixels, 1
      where all predictions are uniform.
    present: of each image the classes that are predicted somewhere in it.
  """
  content = {'pixels': pixels, 'entropy': entropy, 'present': present}
  sealed.write(folder / FILE, content)


def rare_classes(
  folder: pathlib.Path, classes: Sequence[str], share: float
) -> tuple[int, ...]:
  """Return the indices of the classes that have less than a share of pixels.

  (CRST, crst_seg.py, kc_parameters: mine_id.)

  Args:
    folder: of the pseudo labels.
    classes: names, in index order; one that the network does not know is rare.
    share: of all pixels.

  Raises:
    UserError: there is no such file, or it is damaged.
  """
  pixels = _read(folder)['pixels']
  total = sum(pixels.values())
  return tuple(
    i
    for i, name in enumerate(classes)
    if pixels.get(name, 0) / max(total, 1) < share
  )


def select(
  folder: pathlib.Path,
  part: str,
  easy_share: float,
  rare: Sequence[str] | None = None,
) -> np.ndarray | None:
  """Return the places of the easy images, or of the hard ones, in order.

  Easy are the int(n share) of n with the lowest entropy; of equal ones those
  that come first (IntraDA, entropy.py).

  Args:
    folder: of the pseudo labels.
    part: 'all', 'easy' or 'hard'.
    easy_share: of the images.
    rare: classes; the entropy counts times `factor`. None for no such.

  Returns:
    i64[count], None for all.

  Raises:
    UserError: there is no such file, or it is damaged.
  """
  if part == 'all':
    return None
  found = _read(folder)
  entropy = np.array(found['entropy'])
  if rare:
    entropy *= [factor(present, rare) for present in found['present']]
  order = np.argsort(entropy, kind='stable')
  easy = int(len(order) * easy_share)
  return np.sort(order[:easy] if part == 'easy' else order[easy:])


def factor(present: Sequence[str], rare: Sequence[str]) -> float:
  """Return 1/2 + (n - m) / n of n rare classes, of which m are present.

  What IntraDA's code multiplies an image's entropy by, also with the README's
  `--normalize False`, which it reads as true; the paper has no such factor.
  """
  missing = len({*rare} - {*present})
  return missing / len(rare) + 0.5


def _read(folder) -> dict[str, Any]:
  made = stored.metadata(folder).get('pseudo', {})
  again = made.get('command', 'python -m jaxuda.pseudo_label --workdir=RUN')
  mend = f'delete {folder} and make the labels again: {again}'
  return sealed.read(folder / FILE, _FORM, mend)
