"""How much of each class a rule of pseudo labels keeps, and how sure it is."""

import csv
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

LEVELS = (0.5, 0.7, 0.9, 0.95, 0.99)  # at which confidences are summarised


class Summary:
  """What is counted while labels are made.

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
    """Counts an image: u8[H, W], f32[H, W] and bool[H, W]."""
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
    """A row a class and one for all; None where a class is never predicted."""

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

    found = (self.predicted, self.kept, self.confidence, self.above.T)
    rows = [
      row(name, float(limit), *each)
      for name, limit, *each in zip(names, limits, *found, strict=True)
    ]
    return [*rows, row('all', None, *(each.sum(0) for each in found))]


def write(folder: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
  """Writes the rows as coverage.csv and their thresholds as thresholds.json."""
  by_name = {row['class']: row['threshold'] for row in rows[:-1]}
  text = json.dumps(by_name, indent=1) + '\n'
  (folder / 'thresholds.json').write_text(text)
  with open(folder / 'coverage.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
  """A row a class: its share of the predictions, and how much was kept."""
  from rich import box
  from rich.console import Console
  from rich.table import Table

  grid = Table(box=box.SIMPLE_HEAD)
  for name in ('class', 'threshold', 'predicted', 'confidence', 'kept'):
    grid.add_column(name, justify='left' if name == 'class' else 'right')
  total = rows[-1]['predicted']

  def percent(value):
    return '' if value is None else f'{100 * value:.1f} %'

  for row in rows:
    if row is rows[-1]:
      grid.add_section()
    limit, sure = row['threshold'], row['mean_confidence']
    grid.add_row(
      row['class'],
      '' if limit is None else f'{limit:.4f}',
      percent(row['predicted'] / total),
      '' if sure is None else f'{sure:.3f}',
      percent(row['kept_share']),
    )
  console = Console(width=100, force_terminal=False, color_system=None)
  with console.capture() as capture:
    console.print(grid)
  return capture.get().rstrip()
