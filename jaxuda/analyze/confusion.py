"""Confusion matrices of runs side by side (ACCV 2020, Fig. 7).

  python -m jaxuda.analyze confusion --workdirs=runs/before,runs/after

They are read from the scores.json that a finished run has, or that
jaxuda.evaluate has written: --workdirs also takes such a folder, as
RUN/evaluation/val-400-flip. The paper's figure shows logarithms of counts; here
each row is divided by the pixels of its class, so that rare classes can be
read, and the diagonal is the share that is found. Of two runs the difference is
drawn, too.
"""

import pathlib

import numpy as np
from absl import flags

from jaxuda.analyze import _common
from jaxuda.evaluation.scores import Scores
from jaxuda.figures import confusion as figures
from jaxuda.utils import cli


def define_flags(command: cli.Flags) -> None:
  """Define the flags of this analysis."""
  _common.define_workdirs(command)


def run(given: flags.FlagValues, output: pathlib.Path) -> str:
  """Read and draw; see the package."""
  found = _common.read_scores(given.workdirs)
  classes = next(iter(found.values())).space.classes
  # A network of the scored classes has no column for others.
  width = max(scores.counts.shape[1] for scores in found.values())
  columns = figures.column_names(classes, width)
  shares = {
    title: normalised(scores.counts, width) for title, scores in found.items()
  }
  rows = [
    (title, classes[i], columns[j], pixels, shares[title][i, j])
    for title, scores in found.items()
    for (i, j), pixels in np.ndenumerate(scores.counts)
  ]
  _common.write_csv(
    output / 'confusion.csv',
    ('run', 'class', 'prediction', 'pixels', 'share'),
    rows,
  )
  figures.shares(output / 'confusion.png', shares, classes)
  return _sentence(shares, found, classes, columns)


def normalised(counts: np.ndarray, width: int) -> np.ndarray:
  """Return f64[C, width], each row over its sum; NaN where that is 0.

  Args:
    counts: i64[C, K].
    width: number of columns, K or more; what is added is empty.
  """
  counts = np.pad(counts, ((0, 0), (0, width - counts.shape[1])))
  with np.errstate(invalid='ignore'):
    return counts / counts.sum(1, keepdims=True)


def _sentence(shares, found: dict[str, Scores], classes, columns):
  recalls = ', '.join(
    f'{title} {np.nanmean(np.diagonal(s)):.1%}' for title, s in shares.items()
  )
  images = ', '.join(sorted({str(s.images) for s in found.values()}))
  text = f'found of each class, in the mean ({images} images): {recalls}'
  if len(shares) == 2:
    before, after = shares.values()
    change = 100 * (after - before)
  else:  # the confusions of the last one
    change = 100 * list(shares.values())[-1]
    change[np.diag_indices(len(classes))] = 0
  change = np.nan_to_num(change)
  order = np.argsort(-np.abs(change), axis=None, kind='stable')[:3]
  cells = [np.unravel_index(k, change.shape) for k in order]
  sign = '+' if len(shares) == 2 else ''
  listed = ', '.join(
    f'{classes[i]} as {columns[j]} {change[i, j]:{sign}.0f}' for i, j in cells
  )
  what = 'largest changes, in points' if sign else 'largest confusions, in %'
  return f'{text}; {what} of the class: {listed}.'
