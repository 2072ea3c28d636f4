"""Confusion matrices: which colours a figure has, and how much of them."""

import numpy as np
import pytest
from analyses import picture

from jaxuda import labels
from jaxuda.figures import confusion

PURPLE, TEAL, YELLOW = (68, 1, 84), (32, 144, 140), (253, 231, 36)  # viridis


def area(pixels, color):
  """How many pixels of a figure have a colour."""
  return (pixels == color).all(-1).sum()


def test_counts_are_logarithmic_and_zeros_are_drawn(tmp_path):
  counts = np.zeros((13, 14), np.int64)
  counts[0, 0], counts[1, 1], counts[2, 13] = 10**10, 10**5, 10**5
  path = tmp_path / 'confusion.png'
  classes = labels.space('crosscity13').classes
  confusion.counts(path, counts, classes)
  pixels = picture(path)
  assert area(pixels, PURPLE) > 100 * area(pixels, YELLOW) > 0
  # Half way up the decades is viridis' middle: two cells of it.
  assert area(pixels, TEAL) > 1.2 * area(pixels, YELLOW)

  confusion.counts(path, np.zeros((13, 13), np.int64), classes)
  picture(path)


def test_shares_and_of_two_their_difference(tmp_path):
  """A class that is never found, then always; one is not there."""
  classes = labels.space('camvid11').classes
  one = np.eye(11)
  one[3] = np.roll(one[3], 1)
  two = np.eye(11)
  one[5] = two[5] = np.nan
  path = tmp_path / 'shares.png'
  confusion.shares(path, {'one': one}, classes)
  alone = picture(path)
  confusion.shares(path, {'one': one, 'two': two}, classes)
  pair = picture(path)
  assert pair.shape[0] == alone.shape[0]
  assert pair.shape[1] > 2 * alone.shape[1]
  # Ten cells of a matrix are 100 %, with a number in each.
  assert area(pair, YELLOW) == pytest.approx(2 * area(alone, YELLOW), rel=0.1)
  # The published ends of RdBu_r: a cell each, and the ends of its bar.
  red, blue = (103, 0, 31), (5, 48, 97)
  cell = area(alone, YELLOW) / 10
  for color in (red, blue):
    assert area(alone, color) == 0
    assert 0.8 * cell < area(pair, color) < 1.5 * cell


def test_names_of_columns():
  assert confusion.column_names(('a', 'b'), 2) == ['a', 'b']
  assert confusion.column_names(('a', 'b'), 3) == ['a', 'b', 'other']
