"""Charts: areas of colours, by the numbers that they stand for."""

import numpy as np
import pytest
from analyses import picture

from jaxuda.figures import charts

BLUE, RED = (0, 114, 178), (213, 94, 0)  # Okabe and Ito's first two


def rows_of(pixels, color):
  """In how many rows a colour is."""
  return (pixels == color).all(-1).any(1).sum()


def test_bars_are_as_high_as_their_values(tmp_path):
  path = tmp_path / 'bars.png'
  series = {'half': [50.0, np.nan], 'whole': [100.0, np.nan]}
  charts.bars(path, ['a', 'b'], series, ylabel='%')
  pixels = picture(path)[50:]  # without the legend
  right = pixels[:, pixels.shape[1] * 6 // 10 :]
  left = pixels[:, : pixels.shape[1] * 6 // 10]
  assert rows_of(left, RED) == pytest.approx(2 * rows_of(left, BLUE), abs=4)
  # Where nothing was measured a small cross stands on the axis.
  for color in (BLUE, RED):
    assert 0 < rows_of(right, color) < 15


def test_curves_show_means_and_deviations(tmp_path):
  """Of 0 and 2 the deviation (n - 1) is 1.41: half as high as of 0 and 4."""
  path = tmp_path / 'curves.png'
  heights = []
  for spread in (2.0, 4.0):
    series = {'all': charts.Curve([0, 1], [[0.0, spread], [0.0, spread]])}
    levels = {'low': [-10.0], 'high': [10.0]}  # the same axis for both
    charts.curves(path, series, xlabel='x', ylabel='y', levels=levels)
    pixels = picture(path)
    column = pixels[50:, pixels.shape[1] // 2]  # without the legend
    # A fifth of blue on white, but for the lines of the grid.
    shade = np.abs(column - (204, 227, 239)).max(-1) <= 2
    rows = np.flatnonzero(shade)
    heights.append(rows.max() - rows.min())
  assert heights[1] == pytest.approx(2 * heights[0], abs=6)


def test_a_single_place_is_seen(tmp_path):
  """Runs with one evaluation: a line of one point would be none."""
  path = tmp_path / 'curves.png'
  charts.curves(
    path, {'one': charts.Curve([60], [[15.0, 18.0]])}, xlabel='x', ylabel='y'
  )
  below = picture(path)[50:]  # without the legend
  assert rows_of(below, BLUE) > 3


def test_colours_have_an_order_where_series_have_one():
  assert charts.colors(2) == ['#0072B2', '#D55E00']
  first, *_, last = charts.colors(5, ordered=True)
  np.testing.assert_allclose(first[:3], np.array([68, 1, 84]) / 255, atol=0.01)
  assert last[1] > 0.7  # towards yellow
  assert len({tuple(color) for color in charts.colors(9)}) == 9
