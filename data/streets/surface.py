"""The pattern of each surface, for each pixel from its place in the world.

Each function takes u, v (metres along the surface; x, z on the ground), the
size of a pixel there (m), and the surface's four parameters, all f32[N], and
returns (gain, mix): f32[N] brightness around 1 and the share of the surface's
second colour. Patterns finer than a pixel fade to their mean.
"""

import functools

import numpy as np

from data.streets import mesh
from data.streets.layout import LANE

TILE = 256  # the noise repeats after this many cells
STEPS = 4  # samples of the smooth noise in a cell


@functools.cache
def _tiles():
  """Fine and smooth noise, f32[TILE, TILE] in -1..1, periodic."""
  rng = np.random.default_rng(2020)
  side = TILE * STEPS
  fine = rng.uniform(-1, 1, (TILE, TILE)).astype(np.float32)
  smooth = np.zeros((side, side), np.float32)
  for octave, weight in ((4, 0.5), (8, 0.3), (16, 0.2)):
    cells = rng.uniform(-1, 1, (TILE // octave, TILE // octave))
    cells = np.pad(cells, (0, 1), mode='wrap')
    at = np.arange(side) / (octave * STEPS)
    low, part = at.astype(int), at % 1
    part = part * part * (3 - 2 * part)
    rows = cells[low] * (1 - part)[:, None] + cells[low + 1] * part[:, None]
    smooth += weight * (
      rows[:, low] * (1 - part) + rows[:, low + 1] * part
    ).astype(np.float32)
  smooth /= np.abs(smooth).max()
  return fine, smooth


def fine(u, v):
  """Return white noise at integer cells."""
  i, j = u.astype(np.int32), v.astype(np.int32)
  return _tiles()[0][i & (TILE - 1), j & (TILE - 1)]


def smooth(u, v):
  """Return cloud-like noise, whose features are 4 to 16 cells wide."""
  i, j = (u * STEPS).astype(np.int32), (v * STEPS).astype(np.int32)
  return _tiles()[1][i & (TILE * STEPS - 1), j & (TILE * STEPS - 1)]


def _fade(pixel, detail):
  """1 where the detail spans two pixels or more, 0 where less than a half."""
  return np.clip((detail / pixel - 0.5) / 1.5, 0, 1)


def _fract(x):
  return x - np.floor(x)


def facade(u, v, pixel, params):
  """Draw rows of windows, over a shop floor where there is one."""
  spacing, floor, share, shop = params
  fu, fv = u / spacing, (v - shop) / floor
  window = (np.abs(_fract(fu) - 0.5) < share / 2) & (
    np.abs(_fract(fv) - 0.52) < 0.29
  )
  lit = 0.85 + 0.15 * fine(np.floor(fu) + 3.5, np.floor(fv) + 300.5)
  keep = _fade(pixel, spacing * 0.5)
  mix = window * lit * keep + 0.58 * share * (1 - keep)
  band = (v < shop) & (v > 0.4)
  glass = np.where(v < 2.7, np.abs(_fract(u / 4.0) - 0.5) < 0.42, 0.25)
  mix = np.where(band, 0.9 * glass, mix * (v > shop))
  gain = 1 + 0.06 * smooth(u * 3, v * 3)
  gain = gain - 0.12 * ((v >= shop) & (_fract(fv) < 0.06)) * keep
  return gain, mix


def paving(u, v, pixel, params):
  """Draw slabs with joints."""
  su, sv = params[:2]
  joint = (_fract(u / su) < 0.07) | (_fract(v / sv) < 0.07)
  keep = _fade(pixel, np.minimum(su, sv) * 0.5)
  slab = fine(np.floor(u / su) + 1024.5, np.floor(v / sv) + 1024.5)
  gain = 1 + 0.05 * slab * keep + 0.06 * smooth(u * 4, v * 4)
  return gain, 0.5 * joint * keep + 0.06 * (1 - keep)


def grass(u, v, pixel, params):
  """Draw blades, and lighter and darker patches."""
  del params
  blades = fine(u * 12 + 4096, v * 12 + 4096) * _fade(pixel, 0.1)
  return 1 + 0.16 * smooth(u * 6, v * 6) + 0.18 * blades, 0 * u


def leaves(u, v, pixel, params):
  """Draw light and dark clumps."""
  del params
  clump = smooth(u * 14 + 4096, v * 14 + 4096)
  leaf = fine(u * 9 + 4096, v * 9 + 4096) * _fade(pixel, 0.12)
  gain = 1 + 0.22 * leaf
  return gain, np.clip(0.28 + 0.9 * clump + 0.2 * leaf, 0, 0.85)


def brick(u, v, pixel, params):
  """Draw stones in rows, each row shifted by half a stone."""
  width, height = params[:2]
  row = np.floor(v / height)
  along = u / width + 0.5 * (row % 2)
  joint = (_fract(v / height) < 0.14) | (_fract(along) < 0.08)
  keep = _fade(pixel, height * 0.6)
  stone = fine(np.floor(along) + 1024.5, row + 64.5) * keep
  gain = 1 + 0.10 * stone + 0.10 * smooth(u * 5 + 999, v * 5)
  return gain, 0.75 * joint * keep + 0.15 * (1 - keep)


def bars(u, v, pixel, params):
  """Draw bars and two rails, and what is behind them in between."""
  period, share = params[:2]
  gap = _fract(u / period) > share
  keep = _fade(pixel, period * 0.5)
  height = v - 0.14
  rail = (np.abs(height - 0.25) < 0.06) | (np.abs(height - 0.95) < 0.06)
  mix = (gap * keep + (1 - share) * (1 - keep)) * ~rail
  return 1 + 0.08 * smooth(u * 6 + 999, v * 6), 0.9 * mix


def clutter(u, v, pixel, params):
  """Draw planks."""
  del pixel, params
  gain = 1 + 0.15 * smooth(u * 10 + 999, v * 10 + 999)
  return gain, 0.35 * (_fract(v * 1.3) < 0.4)


def asphalt(u, v, pixel):
  """Return the gain of a road without its markings."""
  grain = fine(u * 15 + 4096, v * 15 + 4096) * _fade(pixel, 0.05)
  return 1 + 0.10 * smooth(u * 5 + 4096, v * 2 + 4096) + 0.08 * grain


def marks(street, x, z, pixel):
  """Return the coverage f32[N] by white road markings, and by the middle line.

  Lines run along the street; zebra crossings lie next to a cross street.
  """

  def stripe(at, width):
    near = (width / 2 - np.abs(np.abs(x) - at)) / pixel + 0.5
    return np.clip(near, 0, 1) * np.minimum(width / pixel, 1)

  line = stripe(street.half - 0.25, 0.14)
  dash = _fract(z / 9.0) < 0.4
  for k in range(1, street.lanes):
    line = np.maximum(line, stripe(street.bed + k * LANE, 0.15) * dash)
  centre = stripe(street.bed + 0.12, 0.13)
  if street.crossing:
    # Ahead of the cross street and beyond it.
    off = np.maximum(street.crossing[0] - z, z - street.crossing[1])
    zebra = (off > 0.5) & (off < 3.3)
    keep = _fade(pixel, 0.5)
    bands = (_fract(x) < 0.5) * keep + 0.5 * (1 - keep)
    line, centre = np.where(zebra, bands, line), centre * ~zebra
  return 0.9 * line, 0.9 * centre


PATTERNS = {
  mesh.FACADE: facade,
  mesh.PAVING: paving,
  mesh.GRASS: grass,
  mesh.LEAVES: leaves,
  mesh.BRICK: brick,
  mesh.BARS: bars,
  mesh.CLUTTER: clutter,
}
