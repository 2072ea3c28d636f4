"""Rules of pseudo labels: which predictions on the target are believed.

NumPy alone; labeller.py runs the network and writes what comes out.
A rule keeps a prediction whose confidence reaches its class's threshold, and
the threshold is one of that class's own confidences on the whole dataset.
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from jaxuda.datasets import specs
from jaxuda.utils.errors import UserError

# How the network is asked, with each rule's own as its original has it. `input`
# is the size (height, width) that it sees, None for that at which its run is
# evaluated; the others are those of evaluate.probabilities.
_ASKED = {'input': None, 'scales': (1.0,), 'flip': False, 'upsample': 'logits'}

# What each rule reads, with the originals' values.
RULES = {
  # Every prediction, however uncertain (FADA, test.py).
  'argmax': _ASKED,
  # Kept where the confidence reaches the one at `portion` of the class's, from
  # below, or `cap` where that is less (BDL, SSL.py).
  'median': _ASKED | {'portion': 0.5, 'cap': 0.9, 'upsample': 'probabilities'},
  # argmax_c p_c / threshold_c, kept where that is at least 1; thresholds let
  # `portion` of each class pass, as counted on every `stride`-th of its pixels
  # of an image. With `soft`, LRENT's alpha, the label is the distribution
  # (p_c / threshold_c)^(1 / alpha), normalised (CRST, crst_seg.py).
  'balanced': _ASKED
  | {
    'portion': 0.2,
    'stride': 4,
    'soft': 0.0,
    'scales': (0.9,),
    'flip': True,
  },
}

FOLDER = 'pseudo_labels'  # in a run's

_BOUNDS = {'portion': (0, 1), 'cap': (0, 1), 'soft': (0, 1), 'stride': (1, 1e9)}


def settings(rule: str, given: Mapping[str, Any]) -> dict[str, Any]:
  """All settings of a rule, some of them given.

  Raises:
    UserError: no such rule, or a value that it does not read or cannot use.
  """
  if rule not in RULES:
    raise UserError(f'rule={rule!r} is none of {", ".join(RULES)}.')
  for key in given:
    if key not in RULES[rule]:
      readers = [name for name, reads in RULES.items() if key in reads]
      raise UserError(
        f'{key}={given[key]!r} is a setting of {" and ".join(readers)}; the '
        f'rule {rule} does not read it.'
      )
  chosen = RULES[rule] | dict(given)
  for key, (least, most) in _BOUNDS.items():
    if key in chosen and not least <= chosen[key] <= most:
      limit = f'from {least} to {most}' if most == 1 else f'at least {least}'
      raise UserError(f'{key}={chosen[key]!r} must be {limit}.')
  return {'rule': rule, **chosen}


def default_folder(
  run: pathlib.Path, spec: str, size: specs.Size, chosen: Mapping[str, Any]
) -> pathlib.Path:
  """Where a run's labels of a dataset lie: RUN/pseudo_labels/<their name>.

  Named by the dataset, its size, the rule, and what differs from the rule's.
  """
  usual = RULES[chosen['rule']]
  parts = [spec.replace('/', '-'), specs.size_name(size), chosen['rule']]
  for key, value in chosen.items():
    if key != 'rule' and value != usual[key]:
      text = ','.join(map(str, value)) if isinstance(value, tuple) else value
      parts.append(f'{key}={text}')
  return pathlib.Path(run) / FOLDER / '-'.join(parts)


def sampled(
  label: np.ndarray, confidence: np.ndarray, stride: int
) -> tuple[np.ndarray, np.ndarray]:
  """Every stride-th pixel of each class of an image, in reading order.

  (CRST, crst_seg.py, val.) Flat u8[N] and f32[N], of u8[H, W] and f32[H, W].
  """
  label, confidence = label.ravel(), confidence.ravel()
  if stride == 1:
    return label, confidence
  order = np.argsort(label, kind='stable')
  starts = np.searchsorted(label[order], np.arange(256))
  place = np.arange(label.size) - starts[label[order]]
  chosen = order[place % stride == 0]
  return label[chosen], confidence[chosen]


def thresholds(
  go_through: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]],
  classes: int,
  chosen: Mapping[str, Any],
) -> np.ndarray:
  """The confidence that each class must reach.

  Args:
    go_through: iterates (label u8[H, W], confidence f32[H, W]) of all images;
      called twice, and must give the same each time.
    classes: C.
    chosen: of `settings`.

  Returns:
    f64[C].
  """
  rule = chosen['rule']
  if rule == 'argmax':
    return np.zeros(classes)
  portion = chosen['portion']

  def rank(counts):
    if rule == 'balanced':  # the floor(n portion)-th from above
      return np.where(
        np.floor(counts * portion) > 0, counts - np.floor(counts * portion), -1
      )
    # From below, halves to the even number as NumPy's round; where that is one
    # too far, which the original's half never is, the largest.
    return np.minimum(np.round(counts * portion), counts - 1)

  def maps():
    stride = chosen.get('stride', 1)
    return (sampled(*each, stride) for each in go_through())

  found = order_statistics(maps, rank, classes)
  if rule == 'balanced':
    return np.nan_to_num(found, nan=1.0)
  return np.minimum(np.nan_to_num(found, nan=0.0), chosen['cap'])


def order_statistics(
  go_through: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]],
  rank: Callable[[np.ndarray], np.ndarray],
  classes: int,
) -> np.ndarray:
  """One confidence of each class by its rank among all of them, exactly.

  Floats that are not negative are ordered as their bits are. The first pass
  counts each class's upper 16 bits; the second the lower ones, of those whose
  upper bits are the wanted one's. So that nothing of the dataset is kept but
  C 2^16 counts, at the price of going through it twice.

  Args:
    go_through: iterates (label u8[N], confidence f32[N]).
    rank: i64[C] counts -> [C] 0-based ranks from below, -1 for none.
    classes: C.

  Returns:
    f64[C], NaN where there is none.
  """
  upper = np.zeros((classes, 1 << 16), np.int64)
  for label, confidence in go_through():
    bits = confidence.view(np.uint32)
    upper += _histogram(label, bits >> 16, classes)
  ranks = rank(upper.sum(1)).astype(np.int64)
  bins, ranks = _find(upper, ranks)
  lower = np.zeros_like(upper)
  for label, confidence in go_through():
    bits = confidence.view(np.uint32)
    here = bits >> 16 == bins[label]
    lower += _histogram(label[here], bits[here] & 0xFFFF, classes)
  ends, _ = _find(lower, ranks)
  bits = (bins.astype(np.uint32) << 16) | ends.astype(np.uint32)
  return np.where(ranks < 0, np.nan, np.float64(bits.view(np.float32)))


def _histogram(label, value, classes):
  index = label.astype(np.int64) << 16 | value
  counts = np.bincount(index, minlength=classes << 16)
  return counts.reshape(classes, 1 << 16)


def _find(counts, ranks):
  """The bin in which each rank falls, and the rank within that bin."""
  ends = np.cumsum(counts, 1)
  bins = np.array([
    min(np.searchsorted(row, rank, side='right'), row.size - 1)
    for row, rank in zip(ends, ranks, strict=True)
  ])  # fmt: skip
  before = (ends - counts)[np.arange(len(bins)), bins]
  return bins, np.where(ranks < 0, ranks, ranks - before)
