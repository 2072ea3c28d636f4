"""Confusion matrices: the counts of one evaluation, the shares of several.

matplotlib is imported where it is used: it takes a second.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxuda.figures import page


def column_names(classes: Sequence[str], count: int) -> list[str]:
  """Return the names of `count` columns, 'other' for one that has no class."""
  return [*classes, *(['other'] * (count - len(classes)))]


def counts(
  path: str | pathlib.Path, counts: np.ndarray, classes: Sequence[str]
) -> None:
  """Draw counts on a logarithmic scale (ACCV 2020, Fig. 7).

  A cell's number is its share of the class's pixels in percent, if 1 or more.

  Args:
    path: of the PNG.
    counts: i64[C, C] or [C, C + 1], pixels of true class (row) and prediction
      (column); the last of C + 1 columns has no class.
    classes: the C names.

  Raises:
    UserError: the file cannot be written.
  """
  import matplotlib.colors
  import matplotlib.figure

  counts = np.asarray(counts)
  rows, columns = counts.shape
  figure = matplotlib.figure.Figure(
    figsize=(3.4 + 0.36 * columns, 2.0 + 0.36 * rows), layout='compressed'
  )
  axis = figure.add_subplot()
  # log(0) has no colour: nothing and one pixel share the darkest.
  norm = matplotlib.colors.LogNorm(1, max(10, counts.max()))
  picture = axis.imshow(np.maximum(counts, 1), cmap=page.COLORMAP, norm=norm)
  _name(axis, classes, columns)
  axis.set_ylabel('ground truth')
  totals = np.maximum(counts.sum(1, keepdims=True), 1)
  _write_numbers(axis, picture, 100 * counts / totals, 8)
  bar = figure.colorbar(picture, ax=axis, shrink=0.8, pad=0.02)
  bar.set_label('pixels (numbers: % of the true class)')
  bar.outline.set_visible(False)
  page.save(path, figure)


def shares(
  path: str | pathlib.Path,
  shares: Mapping[str, np.ndarray],
  classes: Sequence[str],
) -> None:
  """Draw matrices side by side; for two, their difference as well.

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
  pictures = []
  for axis, (title, values, colormap, ends) in zip(axes, panels, strict=True):
    pictures.append(axis.imshow(values, colormap, vmin=ends[0], vmax=ends[1]))
    axis.set_title(title, fontsize=11)
    names = classes if axis is axes[0] else [''] * rows
    _name(axis, names, columns, classes, 8)
    _write_numbers(axis, pictures[-1], values, 6)
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


def _name(axis, rows, columns, classes=None, fontsize=None):
  """Name the rows and the columns, of which there are so many."""
  names = column_names(classes or rows, columns)
  axis.set_xticks(range(columns), names, rotation=90, fontsize=fontsize)
  axis.set_yticks(range(len(rows)), rows, fontsize=fontsize)
  axis.tick_params(length=0)
  axis.set_xlabel('prediction')
  axis.spines[:].set_visible(False)


def _write_numbers(axis, picture, percents, fontsize):
  """Write what is at least a percent, dark on light and light on dark."""
  shown = picture.get_array()
  for i, j in np.argwhere(np.abs(np.nan_to_num(percents)) >= 1):
    r, g, b, _ = picture.cmap(picture.norm(shown[i, j]))
    color = 'black' if 0.3 * r + 0.59 * g + 0.11 * b > 0.5 else 'white'
    axis.text(
      j,
      i,
      f'{percents[i, j]:.0f}',
      ha='center',
      va='center',
      fontsize=fontsize,
      color=color,
    )
