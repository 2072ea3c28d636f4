"""The pages of figures: pictures placed by the inch, and PNG files.

matplotlib is imported where it is used, and draws into memory (Agg): there is
no display, and no global figure.
"""

import io
import pathlib
import textwrap
from collections.abc import Sequence

import numpy as np

from jaxuda.utils import files

COLORMAP = 'viridis'  # purple to yellow, as in ACCV 2020
DPI = 130

# In inches: the widest page and picture; the space between pictures, and around
# all of them; a line of text; the names of the rows.
PAGE, CELL, SPACE, MARGIN, LINE, ROW_NAME = 16.0, 3.4, 0.06, 0.12, 0.24, 1.35


def cell_width(columns: int, row_names: bool = False) -> float:
  """Return the inches that each of a page's columns of pictures is wide."""
  page = PAGE - 2 * MARGIN - row_names * ROW_NAME
  return min(CELL, page / columns - SPACE)


def grid(
  aspects: Sequence[float],
  columns: Sequence[str],
  foot: float,
  rows: Sequence[str] = (),
) -> tuple:
  """Make a page of empty pictures, with the names of its columns and rows.

  Args:
    aspects: height over width of each row.
    columns: names above the first row.
    foot: inches that stay free at the bottom.
    rows: names at the left; () for none.

  Returns:
    The matplotlib Figure, and its Axes by row and column.
  """
  import matplotlib.figure

  cell = cell_width(len(columns), bool(rows))
  left = MARGIN + ROW_NAME * bool(rows)
  names = [_heading(name, int(10 * cell)) for name in columns]
  head = MARGIN + LINE * (1 + max(name.count('\n') for name in names))
  width = left + len(columns) * (cell + SPACE) - SPACE + MARGIN
  height = head + sum(aspect * cell + SPACE for aspect in aspects) + foot
  figure = matplotlib.figure.Figure(figsize=(width, height), dpi=DPI)
  axes, y = [], height - head
  for i, aspect in enumerate(aspects):
    y -= aspect * cell
    axes.append([])
    for j, name in enumerate(names):
      x = left + j * (cell + SPACE)
      box = (x / width, y / height, cell / width, aspect * cell / height)
      axis = figure.add_axes(box)
      axis.set_axis_off()
      axis.set_anchor('N')
      if i == 0:
        axis.set_title(name, fontsize=12, pad=4)
      axes[-1].append(axis)
    if rows:
      figure.text(
        (left - 0.1) / width,
        (y + aspect * cell / 2) / height,
        textwrap.fill(rows[i], 14),
        ha='right',
        va='center',
        fontsize=12,
      )
    y -= SPACE
  return figure, axes


def _heading(name: str, width: int) -> str:
  """Return a name in two lines at most; of a long one both ends."""
  lines = textwrap.wrap(name, width)
  if len(lines) > 2:
    half = width - 1
    lines = [f'{name[:half]}…', name[-half:]]
  return '\n'.join(lines)


def show(axis, picture: np.ndarray | None, aspect: str = 'equal') -> None:
  """Show a picture, if any: crisp when enlarged, smoothed when reduced.

  Args:
    axis: its place on the page.
    picture: as matplotlib shows it.
    aspect: 'auto' to stretch it over the whole place.
  """
  if picture is None:
    return
  enlarged = axis.get_window_extent().width >= picture.shape[1]
  smoothing = 'nearest' if enlarged else 'antialiased'
  axis.imshow(picture, interpolation=smoothing, aspect=aspect)


def color_bar(
  figure, left: float, length: float, unit: str = 'entropy / log C'
) -> None:
  """Draw a colour bar from 0 to 1 into a page's foot.

  Args:
    figure: the page.
    left: inches from the page's edge.
    length: in inches.
    unit: what the colours mean.
  """
  import matplotlib.cm

  width, height = figure.get_size_inches()
  box = (left / width, 0.36 / height, length / width, 0.13 / height)
  bar = figure.colorbar(
    matplotlib.cm.ScalarMappable(cmap=COLORMAP),
    cax=figure.add_axes(box),
    orientation='horizontal',
    ticks=[0, 0.5, 1],
  )
  bar.ax.set_xticklabels(['0', unit, '1'])
  bar.ax.tick_params(labelsize=10, length=2)
  bar.outline.set_visible(False)


def png(figure) -> bytes:
  """Return a figure as a PNG."""
  content = io.BytesIO()
  figure.savefig(content, format='png', dpi=DPI)
  return content.getvalue()


def save(path: str | pathlib.Path, figure) -> None:
  """Write a figure whole as a PNG.

  Raises:
    UserError: the file cannot be written.
  """
  files.write(path, lambda file: figure.savefig(file, format='png', dpi=DPI))
