"""Confusion matrices of runs side by side (paper 001, Fig. 7).

  python -m jaxuda.analyze confusion --workdirs=runs/before,runs/after

Read from the scores.json that a finished run has, or that jaxuda.evaluate has
written: --workdirs also takes such a folder, RUN/evaluation/val-400-flip. The
paper's figure shows logarithms of counts; here each row is divided by the
pixels of its class, so that rare classes can be read, and the diagonal is the
share that is found. Of two runs the difference is drawn besides.
"""

import pathlib

import numpy as np
from absl import flags

from jaxuda.analyze import _common
from jaxuda.evaluation.scores import Scores
from jaxuda.figures import page
from jaxuda.utils import cli


def define_flags(command: cli.Flags) -> None:
  """The flags of this experiment."""
  _common.define_workdirs(command)


def run(given: flags.FlagValues, output: pathlib.Path) -> str:
  """Reads and draws; see the package."""
  found = _common.read_scores(given.workdirs)
  classes = next(iter(found.values())).space.classes
  rows = []
  for title, scores in found.items():
    shares = normalised(scores.counts)
    for (i, j), pixels in np.ndenumerate(scores.counts):
      rows.append(
        (title, classes[i], _column(classes, j), pixels, shares[i, j])
      )
  _common.write_csv(
    output / 'confusion.csv',
    ('run', 'class', 'prediction', 'pixels', 'share'),
    rows,
  )
  shares = {title: normalised(scores.counts) for title, scores in found.items()}
  draw(output / 'confusion.png', shares, classes)
  return _sentence(shares, found, classes)


def normalised(counts: np.ndarray) -> np.ndarray:
  """f64[C, K] shares of each row of i64[C, K]; NaN where a row has nothing."""
  with np.errstate(invalid='ignore'):
    return counts / counts.sum(1, keepdims=True)


def _column(classes, j):
  return classes[j] if j < len(classes) else 'other'


def _sentence(shares, found: dict[str, Scores], classes):
  recalls = ', '.join(
    f'{title} {100 * np.nanmean(np.diagonal(s)):.1f} %'
    for title, s in shares.items()
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
    f'{classes[i]} as {_column(classes, j)} {change[i, j]:{sign}.0f}'
    for i, j in cells
  )
  what = 'largest changes, in points' if sign else 'largest confusions, in %'
  return f'{text}; {what} of the class: {listed}.'


def draw(
  path: pathlib.Path, shares: dict[str, np.ndarray], classes: tuple[str, ...]
) -> None:
  """Draws matrices side by side, of two also their difference.

  Args:
    path: of the PNG.
    shares: a title to f64[C, K] in 0..1, NaN for a class that is not there.
    classes: the C names.

  Raises:
    UserError: the file cannot be written.
  """
  import matplotlib.figure

  panels = [
    (title, 100 * s, page.COLORMAP, (0, 100)) for title, s in shares.items()
  ]
  if len(shares) == 2:
    (before, one), (after, other) = shares.items()
    title = f'{after} minus {before}'
    change = 100 * (other - one)
    most = max(1, np.nanmax(np.abs(change)))
    panels.append((title, change, 'RdBu_r', (-most, most)))
  rows, columns = panels[0][1].shape
  cell = 0.27
  size = (1.6 + len(panels) * (cell * columns + 0.7), 1.5 + cell * rows)
  figure = matplotlib.figure.Figure(figsize=size, layout='compressed')
  axes = figure.subplots(1, len(panels), squeeze=False)[0]
  names = [_column(classes, j) for j in range(columns)]
  pictures = []
  for axis, (title, values, colormap, ends) in zip(axes, panels, strict=True):
    pictures.append(axis.imshow(values, colormap, vmin=ends[0], vmax=ends[1]))
    axis.set_title(title, fontsize=11)
    axis.set_xlabel('prediction')
    axis.set_xticks(range(columns), names, rotation=90, fontsize=8)
    axis.set_yticks(
      range(rows), classes if axis is axes[0] else [''] * rows, fontsize=8
    )
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    _write_numbers(axis, pictures[-1], values)
  axes[0].set_ylabel('ground truth')
  count = len(shares)
  bar = figure.colorbar(
    pictures[0], ax=axes[:count], shrink=0.8, pad=0.01, aspect=30
  )
  bar.set_label('% of the true class')
  if len(panels) > count:
    bar = figure.colorbar(
      pictures[-1], ax=axes[-1], shrink=0.8, pad=0.02, aspect=30
    )
    bar.set_label('points')
  page.save(path, figure)


def _write_numbers(axis, picture, values):
  """Writes what is at least a percent, dark on light and light on dark."""
  for i, j in np.argwhere(np.abs(np.nan_to_num(values)) >= 1):
    r, g, b, _ = picture.cmap(picture.norm(values[i, j]))
    color = 'black' if 0.3 * r + 0.59 * g + 0.11 * b > 0.5 else 'white'
    text = f'{values[i, j]:.0f}'
    axis.text(j, i, text, ha='center', va='center', fontsize=6, color=color)
