"""How much of each class a rule of pseudo labels keeps, and how sure it is."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxuda.utils import console, files

LEVELS = (0.5, 0.7, 0.9, 0.95, 0.99)  # at which confidences are summarised


class Summary:
  """Counts of pixels, added up while labels are made.

  Attributes:
    predicted, kept: i64[C], pixels of each class before and after the rule.
    confidence: f64[C], the sum of their confidences, before.
    above: i64[len(LEVELS), C], how many of them reach each level.
  """

  def __init__(self, classes: int):
    self.predicted, self.kept = np.zeros((2, classes), np.int64)
    self.confidence = np.zeros(classes)
    self.above = np.zeros((len(LEVELS), classes), np.int64)

  def add(
    self, label: np.ndarray, confidence: np.ndarray, keep: np.ndarray
  ) -> None:
    """Count an image: u8[H, W], f32[H, W] and bool[H, W]."""
    classes = len(self.kept)

    def count(where):
      return np.bincount(label[where], minlength=classes)

    self.predicted += np.bincount(label.ravel(), minlength=classes)
    self.kept += count(keep)
    self.confidence += np.bincount(
      label.ravel(), confidence.ravel(), minlength=classes
    )
    self.above += [count(confidence >= level) for level in LEVELS]

  def rows(
    self, names: Iterable[str], limits: np.ndarray
  ) -> list[dict[str, Any]]:
    """Return a row for each class and one for all of them.

    Shares are None where a class is never predicted.
    """

    def row(name, limit, predicted, kept, confidence, above):
      def share(count):
        return float(count / predicted) if predicted else None

      levels = {
        f'above_{level}': share(n)
        for level, n in zip(LEVELS, above, strict=True)
      }
      return {
        'class': name,
        'threshold': limit,
        'predicted': int(predicted),
        'kept': int(kept),
        'kept_share': share(kept),
        'mean_confidence': share(confidence),
        **levels,
      }

    counts = (self.predicted, self.kept, self.confidence, self.above.T)
    rows = [
      row(name, float(limit), *each)
      for name, limit, *each in zip(names, limits, *counts, strict=True)
    ]
    return [*rows, row('all', None, *(each.sum(0) for each in counts))]


def write(folder: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
  """Write the rows as coverage.csv and their thresholds as thresholds.json."""
  by_name = {row['class']: row['threshold'] for row in rows[:-1]}
  files.write_json(folder / 'thresholds.json', by_name)
  files.write_csv(
    folder / 'coverage.csv', list(rows[0]), [list(row.values()) for row in rows]
  )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
  """Return a text table: the share of each class, and how much was kept."""
  total = rows[-1]['predicted']

  def percent(value):
    return '' if value is None else f'{100 * value:.1f} %'

  def cells(row):
    limit, confidence = row['threshold'], row['mean_confidence']
    return (
      row['class'],
      '' if limit is None else f'{limit:.4f}',
      percent(row['predicted'] / total),
      '' if confidence is None else f'{confidence:.3f}',
      percent(row['kept_share']),
    )

  columns = ('class', 'threshold', 'predicted', 'confidence', 'kept')
  *classes, total_row = map(cells, rows)
  return console.table(columns, classes, [total_row])
