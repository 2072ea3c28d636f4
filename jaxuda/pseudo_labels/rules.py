"""Rules of pseudo labels: which predictions on the target are kept.

NumPy alone; labeller.py runs the network and writer.py writes the labels. A
rule keeps a prediction whose confidence reaches its class's threshold, which is
found among the confidences on the whole dataset: that class's own, or those of
all classes together; `argmax` keeps everything.
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from jaxuda.config.stream_defaults import PSEUDO
from jaxuda.datasets import specs
from jaxuda.utils.errors import UserError
from jaxuda.utils.settings import check_all

# How the network predicts; rules differ where their originals do. `input` is
# the size (height, width) that it sees, None for that at which its run is
# evaluated; the others are those of evaluation.inference.probabilities.
_INFERENCE = {
  'input': None,
  'scales': (1.0,),
  'flip': False,
  'upsample': 'logits',
}

_CBST = _INFERENCE | {
  'portion': 0.2,
  'stride': 4,
  'scales': (0.9,),
  'flip': True,
}

# The settings of each rule, with the originals' values.
RULES = {
  # Every prediction, however uncertain (FADA, test.py).
  'argmax': _INFERENCE,
  # Kept where the confidence reaches the one at `portion` of the class's, from
  # below, or `cap` where that is less (BDL, SSL.py).
  'median': _INFERENCE
  | {'portion': 0.5, 'cap': 0.9, 'upsample': 'probabilities'},
  # argmax_c p_c / threshold_c, kept where that is at least 1; thresholds let
  # `portion` of each class pass, as counted on every `stride`-th of its pixels
  # of an image. With `soft`, LRENT's alpha, the label is the distribution
  # (p_c / threshold_c)^(1 / alpha), normalised (CRST, crst_seg.py). With
  # `spatial_prior`, p is first multiplied by how frequent a class is at each
  # place of the source's images (CBST-SP, spatial_prior.py).
  'balanced': _CBST
  | {
    'soft': 0.0,
    'spatial_prior': 0.0,
  },
  # The same with one threshold for all classes: the plain self-training (ST)
  # with which CBST compares itself.
  'global': _CBST,
}

FOLDER = 'pseudo_labels'  # in a run's folder


def settings(rule: str, given: Mapping[str, Any]) -> dict[str, Any]:
  """Return all settings of a rule: those that are given, and the defaults.

  Args:
    rule: one of RULES.
    given: None stands for the rule's own value.

  Raises:
    UserError: there is no such rule, or it does not read a value or cannot use
      it.
  """
  given = {'rule': rule} | {k: v for k, v in given.items() if v is not None}
  check_all(given, PSEUDO, above='')
  chosen = {'rule': rule, **RULES[rule]}
  for key in given:
    if key not in chosen:
      readers = [name for name, reads in RULES.items() if key in reads]
      raise UserError(
        f'{key}={given[key]!r} is a setting of {" and ".join(readers)}; the '
        f'rule {rule} does not read it.'
      )
  return chosen | given


def of_config(pseudo: Mapping[str, Any]) -> dict[str, Any]:
  """Return all settings that `config.pseudo` describes; None is the rule's own.

  Raises:
    UserError: the rule does not read one of them.
  """
  given = dict(pseudo)
  return settings(given.pop('rule'), given)


def is_ratio(rule: str) -> bool:
  """Return whether labels are argmax_c p_c / threshold_c, kept from 1 on."""
  return rule in ('balanced', 'global')


def default_folder(
  run: pathlib.Path,
  spec: str,
  size: specs.Size,
  chosen: Mapping[str, Any],
  network: str | None = None,
) -> pathlib.Path:
  """Return where a run's labels of a dataset lie: RUN/pseudo_labels/NAME.

  NAME holds the dataset, its size, the rule, all settings that are not the
  rule's defaults, and the network where it is not the run's `eval.network`.
  """
  defaults = RULES[chosen['rule']]
  name = specs.tfds_name(spec).replace('/', '-')
  parts = [name, specs.size_name(size), chosen['rule']]
  for key, value in chosen.items():
    if key != 'rule' and value != defaults[key]:
      text = ','.join(map(str, value)) if isinstance(value, tuple) else value
      parts.append(f'{key}={text}')
  if network:
    parts.append(f'network={network}')
  return pathlib.Path(run) / FOLDER / '-'.join(parts)


def sampled(
  label: np.ndarray, confidence: np.ndarray, stride: int
) -> tuple[np.ndarray, np.ndarray]:
  """Return every stride-th pixel of each class of an image, in reading order.

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
  iterate: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]],
  classes: int,
  chosen: Mapping[str, Any],
) -> np.ndarray:
  """Return the confidence that each class must reach.

  Args:
    iterate: returns an iterable over the (label u8[H, W], confidence f32[H, W])
      of all images; it is called twice, and must give the same each time.
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
    if is_ratio(rule):  # the floor(n portion)-th from above
      return np.where(
        np.floor(counts * portion) > 0, counts - np.floor(counts * portion), -1
      )
    # From below, with halves rounded to even as NumPy does; the largest where
    # that is one too far, as can happen with other portions than BDL's half.
    return np.minimum(np.round(counts * portion), counts - 1)

  def maps():
    stride = chosen.get('stride', 1)
    for each in iterate():
      label, confidence = sampled(*each, stride)
      yield (np.zeros_like(label) if rule == 'global' else label), confidence

  if rule == 'global':
    found = np.repeat(order_statistics(maps, rank, 1), classes)
  else:
    found = order_statistics(maps, rank, classes)
  if is_ratio(rule):
    return np.nan_to_num(found, nan=1.0)
  return np.minimum(np.nan_to_num(found, nan=0.0), chosen['cap'])


def order_statistics(
  iterate: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]],
  rank: Callable[[np.ndarray], np.ndarray],
  classes: int,
) -> np.ndarray:
  """Return the confidence of each class that has a given rank, exactly.

  Floats that are not negative are ordered as their bits are. The first pass
  counts each class's upper 16 bits; the second counts the lower ones of those
  confidences that share the upper bits of the wanted one. Thus no more than
  C 2^16 counts are kept in memory, at the price of two passes.

  Args:
    iterate: returns an iterable over (label u8[N], confidence f32[N]); it is
      called twice.
    rank: i64[C] counts -> [C] 0-based ranks from below, -1 for none.
    classes: C.

  Returns:
    f64[C], NaN where there is none.
  """
  upper = np.zeros((classes, 1 << 16), np.int64)
  for label, confidence in iterate():
    bits = confidence.view(np.uint32)
    upper += _histogram(label, bits >> 16, classes)
  ranks = rank(upper.sum(1)).astype(np.int64)
  bins, ranks = _find(upper, ranks)
  lower = np.zeros_like(upper)
  for label, confidence in iterate():
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
  """Return the bin in which each rank falls, and the rank within it."""
  ends = np.cumsum(counts, 1)
  bins = np.array([
    min(np.searchsorted(row, rank, side='right'), row.size - 1)
    for row, rank in zip(ends, ranks, strict=True)
  ])  # fmt: skip
  before = (ends - counts)[np.arange(len(bins)), bins]
  return bins, np.where(ranks < 0, ranks, ranks - before)
