"""Scores of an evaluation: in a class space, as a table, as JSON."""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from jaxuda import labels, metrics
from jaxuda.utils import console, sealed
from jaxuda.utils.errors import UserError

START = 'start_scores.json'  # of the network that a run starts from
_MEND = 'delete it, and start the command again that has written it'
# What jaxuda.evaluate adds: how the scores came about.
HOW = {
  'step': sealed.COUNT,
  'network': sealed.TEXT,
  'dataset': sealed.TEXT,
  'split': sealed.TEXT,
  'scales': {'type': 'array', 'items': sealed.NUMBER},
  'flip': {'type': 'boolean'},
  'average': sealed.TEXT,
  'upsample': sealed.TEXT,
  'window': {'type': 'array', 'items': sealed.COUNT},
  'missing_class_iou': sealed.TEXT,
  'ensemble': {'type': 'array', 'items': {'type': 'object'}},
}
_FORM = sealed.form(
  {
    'classes': sealed.TEXT,
    'images': sealed.COUNT,
    'means': sealed.named(sealed.SHARE),
    'iou': sealed.named(sealed.SHARE),
    'confusion': {
      'type': 'array',
      'items': {'type': 'array', 'items': sealed.COUNT},
    },
  },
  HOW,
)


@dataclasses.dataclass(frozen=True)
class Scores:
  """The result of an evaluation.

  Attributes:
    space: the class space that was scored.
    counts: i64[C, C] or [C, C + 1], rows labels, columns predictions.
    ious: f64[C]; of a class that is neither labelled nor predicted NaN, or 0
      where such a class counts as zero.
    means: {'mIoU': mean IoU in 0..1, ...}, of the space's subsets.
    images: how many were counted.
  """

  space: labels.LabelSpace
  counts: np.ndarray
  ious: np.ndarray
  means: dict[str, float]
  images: int

  @property
  def headline(self) -> tuple[str, float]:
    """The first mean's name and value."""
    return next(iter(self.means.items()))


def score(
  counts: np.ndarray,
  images: int,
  model_space: str,
  eval_space: str | None,
  missing_class_iou: str = 'excluded',
) -> Scores:
  """Score counts of the model's class space in the space that is evaluated.

  Args:
    counts: i64[C, C].
    images: how many were counted.
    model_space, eval_space: class spaces; None for the model's own.
    missing_class_iou: whether a class that is neither labelled nor predicted is
      'excluded' from means (AdaptSegNet, ADVENT, BDL: numpy.nanmean) or counts
      as 'zero' (FADA, test.py; CRST).
  """
  space = labels.space(eval_space or model_space)
  if space.name != model_space:
    merge = labels.merge(model_space, space.name)
    counts = metrics.merge_confusion(counts, merge, len(space.classes))
  ious = metrics.iou(counts, 0.0 if missing_class_iou == 'zero' else np.nan)
  return Scores(space, counts, ious, metrics.means(ious, space.subsets), images)


def table(scores: dict[str, Scores]) -> str:
  """Return a text table: a row for each class, a column for each evaluation."""
  first = next(iter(scores.values()))
  classes = [
    (name, *(_percent(s.ious[i]) for s in scores.values()))
    for i, name in enumerate(first.space.classes)
  ]
  means = [
    (name, *(_percent(s.means[name]) for s in scores.values()))
    for name in first.means
  ]
  return console.table(('IoU %', *scores), classes, means)


def _percent(value: float) -> str:
  return 'n/a' if np.isnan(value) else f'{100 * value:.1f}'


def to_json(scores: Scores) -> dict:
  """Return scores as plain JSON values; None for what is NaN."""

  def number(value):
    return None if np.isnan(value) else round(float(value), 6)

  return {
    'classes': scores.space.title,
    'images': scores.images,
    'means': {k: number(v) for k, v in scores.means.items()},
    'iou': {
      name: number(value)
      for name, value in zip(scores.space.classes, scores.ious, strict=True)
    },
    'confusion': scores.counts.tolist(),
  }


def from_json(content: dict) -> Scores:
  """Return the scores that `to_json` has turned into plain values.

  Raises:
    UserError: there is no such class space.
    ValueError: the numbers do not fit one another.
  """
  space = labels.recorded(content['classes'], content['iou'])
  counts = np.array(content['confusion'], np.int64)
  ious = _numbers(content['iou'])
  means = dict(zip(content['means'], _numbers(content['means']), strict=True))
  scores = Scores(space, counts, ious, means, content['images'])
  _check(scores, tuple(content['iou']))
  return scores


def _numbers(named):
  return np.array([np.nan if v is None else v for v in named.values()], float)


def _check(scores, classes):
  """Raise ValueError where the numbers do not fit one another."""
  count = len(scores.space.classes)
  if classes != scores.space.classes:
    raise ValueError(f'its classes are not those of {scores.space.title}')
  if scores.counts.shape not in ((count, count), (count, count + 1)):
    raise ValueError(f'confusion has the shape {scores.counts.shape}')
  found = metrics.iou(scores.counts)
  known = ~np.isnan(found)
  if not np.allclose(scores.ious[known], found[known], atol=1e-5):
    raise ValueError('iou is not that of confusion')
  expected = metrics.means(scores.ious, scores.space.subsets)
  if expected and expected.keys() != scores.means.keys():
    raise ValueError(f'means is not of {", ".join(expected)}')
  for name, mean in expected.items():
    if not np.isclose(scores.means[name], mean, atol=1e-5, equal_nan=True):
      raise ValueError(f'{name} is not the mean of iou')


def read(path: pathlib.Path) -> Scores | None:
  """Return the scores of a scores.json, None where there is no such file.

  Raises:
    UserError: it is damaged.
  """
  if not path.exists():
    return None
  content = read_content(path)
  try:
    return from_json(content)
  except ValueError as e:
    raise UserError(f'{path} is damaged ({e}): {_MEND}.') from None


def read_content(path: pathlib.Path) -> dict:
  """Return what a scores.json says, HOW included, as plain values.

  Raises:
    UserError: it is damaged, or not there.
  """
  return sealed.read(path, _FORM, _MEND)


def write(path: pathlib.Path, content: dict) -> None:
  """Write a scores.json whole, from the first process alone.

  Args:
    path: of the file.
    content: of `to_json`, and whatever else is to be kept, see HOW.

  Raises:
    UserError: the file cannot be written.
  """
  if jax.process_index() == 0:
    sealed.write(path, content)


def deviation(values: Sequence[float]) -> float:
  """Return the standard deviation over runs (n - 1); NaN for a single one."""
  return float(np.std(values, ddof=1)) if len(values) > 1 else float('nan')


def plus_minus(values: Sequence[float], sign: str = '') -> str:
  """Return '27.9 ± 1.0', mean and deviation; the mean alone for a single value.

  Args:
    values: of the runs.
    sign: '+' for a sign before positive means.
  """
  mean = f'{np.mean(values):{sign}.1f}'
  return mean if len(values) < 2 else f'{mean} ± {deviation(values):.1f}'
