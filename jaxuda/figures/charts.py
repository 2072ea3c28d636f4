"""Charts: curves and bars of numbers, as PNG files.

matplotlib is imported where it is used: it takes a second.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxuda.figures import page

# Seven that differ for colour-blind readers, too (Okabe and Ito, 2008).
_COLORS = (
  '#0072B2',
  '#D55E00',
  '#009E73',
  '#CC79A7',
  '#E69F00',
  '#56B4E9',
  '#555555',
)
_GRID = {'color': '0.9', 'linewidth': 0.8}


class Curve(NamedTuple):
  """Values at several places of an axis, each measured by several runs.

  Attributes:
    x: f64[N], the places.
    values: the runs' values at each of them.
  """

  x: Sequence[float]
  values: Sequence[Sequence[float]]


def colors(count: int, ordered: bool = False) -> list:
  """Return a colour for each series, along the colour map if `ordered`."""
  import matplotlib

  if ordered or count > len(_COLORS):
    # The map's last tenth is too light for lines on white.
    return list(matplotlib.colormaps[page.COLORMAP](np.linspace(0, 0.9, count)))
  return list(_COLORS[:count])


def curves(
  path: str | pathlib.Path,
  series: Mapping[str, Curve],
  *,
  xlabel: str,
  ylabel: str,
  levels: Mapping[str, Sequence[float]] | None = None,
  ticks: Mapping[float, str] | None = None,
  ordered: bool = False,
  bottom: float | None = None,
) -> None:
  """Draw means over runs, and a standard deviation around them.

  Args:
    path: of the PNG.
    series: a curve's name to the curve.
    xlabel, ylabel: of the axes.
    levels: a name to values that do not depend on x: dashed lines.
    ticks: places on the x axis and their names; None for numbers.
    ordered: whether the series have an order, which their colours then show.
    bottom: where the y axis begins; None for a little below the data.

  Raises:
    UserError: the file cannot be written.
  """
  levels = levels or {}
  names = [*series, *levels]
  figure, axis = _chart((7.2, 4.0 + 0.2 * _legend_rows(names)))
  shades = colors(len(series), ordered)
  for color, (name, curve) in zip(shades, series.items(), strict=True):
    mean, low, high = _band(curve.values)
    few = ticks or len(curve.x) == 1  # places, so that each run can be seen
    marker = 'o' if few else None
    axis.plot(curve.x, mean, color=color, label=name, marker=marker)
    axis.fill_between(curve.x, low, high, color=color, alpha=0.2, linewidth=0)
    for x, values in zip(curve.x, curve.values, strict=True):
      if few:
        at = [x] * len(values)
        axis.plot(at, values, '.', color=color, alpha=0.5, markersize=5)
  greys = np.linspace(0.35, 0.65, len(levels)).astype(str)
  for i, (name, values) in enumerate(levels.items()):
    [mean], [low], [high] = _band([values])
    style = ('--', ':', '-.')[i % 3]
    axis.axhline(mean, color=greys[i], linestyle=style, label=name)
    if high > low:
      axis.axhspan(low, high, color=greys[i], alpha=0.12, linewidth=0)
  if ticks:
    axis.set_xticks(list(ticks), list(ticks.values()))
  axis.set(xlabel=xlabel, ylabel=ylabel)
  axis.set_ylim(bottom=bottom)
  axis.grid(axis='y', **_GRID)
  _legend(figure, axis)
  page.save(path, figure)


def history(
  series: Mapping[str, tuple[Sequence[float], Sequence[float]]], legend: bool
) -> bytes:
  """Draw a number over the steps of training, small enough for a phone.

  Args:
    series: a line's name to its steps and values.
    legend: whether the names are shown.

  Returns:
    A PNG.
  """
  names = [_short(name) for name in series] if legend else []
  height = 2.6 + 0.17 * (_legend_rows(names) if names else 0)
  # Fixed margins: a layout that fits them draws everything once more, and a
  # report has dozens of these.
  figure, axis = _chart((4.4, height), layout=None)
  figure.subplots_adjust(
    left=0.14, right=0.96, bottom=0.45 / height, top=2.38 / height
  )
  shades = colors(len(series))
  for color, (name, (steps, values)) in zip(
    shades, series.items(), strict=True
  ):
    few = len(steps) < 30  # a marker for each, where they can be told apart
    style = {'marker': '.'} if few else {}
    axis.plot(steps, values, color=color, label=_short(name), **style)
  axis.set(xlabel='step')
  axis.margins(x=0.02)
  axis.locator_params(nbins=6)
  axis.ticklabel_format(axis='y', scilimits=(-3, 4))
  axis.grid(axis='y', **_GRID)
  if legend:
    _legend(figure, axis, size=8)
  return page.png(figure)


def _short(name: str, most: int = 40) -> str:
  """Return a name, of a long one its beginning and its end."""
  half = (most - 1) // 2
  return name if len(name) <= most else f'{name[:half]}…{name[-half:]}'


def bars(
  path: str | pathlib.Path,
  names: Sequence[str],
  series: Mapping[str, Sequence[float]],
  *,
  ylabel: str,
  logarithmic: bool = False,
) -> None:
  """Draw a group of bars for each name; NaN leaves a gap with a cross.

  Args:
    path: of the PNG.
    names: of the N groups.
    series: the bars' name in the legend to f64[N].
    ylabel: of the y axis.
    logarithmic: whether the y axis is.

  Raises:
    UserError: the file cannot be written.
  """
  from matplotlib import ticker

  width = 0.8 / len(series)
  figure, axis = _chart((max(6.0, 0.5 * len(names) + 2.5), 4.4))
  shades = colors(len(series))
  for i, (color, (name, values)) in enumerate(
    zip(shades, series.items(), strict=True)
  ):
    values = np.asarray(values, float)
    at = np.arange(len(names)) + (i - (len(series) - 1) / 2) * width
    axis.bar(at, np.nan_to_num(values), width, color=color, label=name)
    missing = at[np.isnan(values)]
    axis.plot(
      missing,
      np.full(len(missing), 0.02),
      'x',
      color=color,
      markersize=5,
      transform=axis.get_xaxis_transform(),
    )
  if logarithmic:
    axis.set_yscale('log', subs=[])
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter('{x:g}')
  axis.set_xticks(range(len(names)), names, rotation=45, ha='right')
  axis.tick_params(axis='x', length=0)
  axis.set(ylabel=ylabel, xlim=(-0.6, len(names) - 0.4))
  axis.grid(axis='y', **_GRID)
  _legend(figure, axis)
  page.save(path, figure)


def heat_map(
  path: str | pathlib.Path,
  values: Sequence[Sequence[float]],
  *,
  rows: Sequence[str],
  columns: Sequence[str],
  names: Sequence[str],
) -> None:
  """Draw numbers in cells, coloured by their difference to the first column.

  A line below says what the colours mean.

  Args:
    path: of the PNG.
    values: f64[R, C]; NaN leaves a cell empty.
    rows: R names.
    columns: C short names.
    names: C whole names, which stand below.

  Raises:
    UserError: the file cannot be written.
  """
  import textwrap

  cells = np.array(values, float)
  over = cells - cells[:, :1]
  most = max(1.0, np.nanmax(np.abs(over)) if np.isfinite(over).any() else 1.0)
  lines = [line for name in names for line in textwrap.wrap(name, 60)]
  if len(columns) > 1:
    lines.append(f'blue: above {columns[0]}; red: below, by up to {most:.1f}')
  height = 0.26 * len(rows) + 0.2 * len(lines) + 0.8
  figure, axis = _chart((max(5.0, 1.8 + 0.62 * len(columns)), height))
  axis.imshow(over, cmap='RdBu', vmin=-most, vmax=most, aspect='auto')
  for i, j in np.ndindex(*cells.shape):
    if np.isfinite(cells[i, j]):
      dark = abs(over[i, j]) > 0.6 * most
      color = 'white' if dark else 'black'
      text = f'{cells[i, j]:.1f}'
      axis.text(j, i, text, ha='center', va='center', fontsize=9, color=color)
  axis.set_yticks(range(len(rows)), rows)
  axis.set_xticks(range(len(columns)), columns)
  axis.xaxis.tick_top()
  axis.tick_params(length=0)
  axis.spines[:].set_visible(False)
  figure.supxlabel('\n'.join(lines), fontsize=9, ha='left', x=0.02)
  page.save(path, figure)


def _chart(size, layout='constrained'):
  import matplotlib.figure

  figure = matplotlib.figure.Figure(figsize=size, dpi=page.DPI, layout=layout)
  axis = figure.add_subplot()
  axis.set_axisbelow(True)
  axis.spines[['top', 'right']].set_visible(False)
  return figure, axis


def _legend(figure, axis, size=10):
  handles, names = axis.get_legend_handles_labels()
  figure.legend(
    handles,
    [_short(name, 80) for name in names],
    loc='outside upper center'
    if figure.get_layout_engine()
    else 'upper center',
    ncols=_legend_columns(names),
    frameon=False,
    fontsize=size,
  )


def _legend_columns(names) -> int:
  return min(len(names), 3 if max(map(len, names)) < 25 else 1)


def _legend_rows(names) -> int:
  return -(-len(names) // _legend_columns(names))


def _band(values):
  """Mean, and a standard deviation below and above it, at each place."""
  mean = np.array([np.mean(v) for v in values])
  sd = np.array([np.std(v, ddof=1) if len(v) > 1 else 0.0 for v in values])
  return mean, mean - sd, mean + sd
