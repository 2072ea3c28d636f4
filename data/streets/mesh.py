"""Meshes: flat-shaded polygons with a class, a colour slot and a texture.

A mesh is built once and placed many times: an `Instance` moves, turns and
scales it and fills its colour slots. In its own coordinates a mesh stands on
y = 0, faces +z, and its solid faces are wound so that
cross(p1 - p0, p2 - p0) points outwards.
"""

import math
from typing import NamedTuple

import numpy as np

from jaxuda import labels

# How a surface is textured; see surface.py.
PLAIN, FACADE, ROAD, PAVING, GRASS, LEAVES, BRICK, BARS, CLUTTER = range(9)

# Label ids: the 19 classes by name, and the Cityscapes void ids that occur
# here, which the class table maps to nothing.
IDS = labels.ids_of('cityscapes') | {
  'unlabeled': 0,
  'ego vehicle': 1,
  'static': 4,
  'ground': 6,
  'parking': 9,
  'rail track': 10,
}


class Mesh(NamedTuple):
  """P polygons over V vertices."""

  verts: np.ndarray  # f32[V, 3]
  counts: np.ndarray  # i64[P] vertices of each polygon
  ids: np.ndarray  # u8[P] label id
  slots: np.ndarray  # i64[P] colour slot
  textures: np.ndarray  # u8[P]
  flat: np.ndarray  # bool[P] has no inside: drawn from both sides
  extent: tuple[float, float]  # half its width and length


class Instance(NamedTuple):
  """A mesh in the world."""

  mesh: Mesh
  place: tuple[float, float, float]
  scale: tuple[float, float, float]
  heading: float  # radians, 0 faces +z, positive turns to the right
  colors: list  # one RGB triple in 0..1 for each slot
  second: tuple = (0.0, 0.0, 0.0)  # the texture's other colour
  params: tuple = (0.0, 0.0, 0.0, 0.0)  # what the texture makes of it
  shadow: float = 0.0  # casts a shadow this high; 0: none


class Builder:
  """Collects polygons: `Builder(...).box(...).polygon(...).mesh()`."""

  def __init__(self, name: str, texture: int = PLAIN):
    """Start without polygons, of the class `name` where a call names none."""
    self.name, self.texture = name, texture
    self.polygons = []

  def polygon(self, points, slot=0, name=None, texture=None, flat=False):
    """Add a polygon; a flat one has no inside."""
    self.polygons.append(
      (
        points,
        IDS[name or self.name],
        slot,
        self.texture if texture is None else texture,
        flat,
      )
    )
    return self

  def box(self, x, y, z, slot=0, top=None, inset=(0, 0, 0, 0), **kwargs):
    """Add a box over the ranges x, y, z, whose top can be smaller.

    Args:
      x, y, z: (low, high) each.
      slot: colour slot of the sides.
      top: colour slot of the top, None: the same.
      inset: metres by which the top is smaller at -x, +x, -z, +z.
      **kwargs: name, texture as in `polygon`.
    """
    (x0, x1), (y0, y1), (z0, z1) = x, y, z
    b = [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)]
    x0, x1 = x0 + inset[0], x1 - inset[1]
    z0, z1 = z0 + inset[2], z1 - inset[3]
    t = [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)]
    self.polygon([b[3], b[2], t[2], t[3]], slot, **kwargs)
    self.polygon([b[1], b[0], t[0], t[1]], slot, **kwargs)
    self.polygon([b[2], b[1], t[1], t[2]], slot, **kwargs)
    self.polygon([b[0], b[3], t[3], t[0]], slot, **kwargs)
    top = slot if top is None else top
    return self.polygon([t[3], t[2], t[1], t[0]], top, **kwargs)

  def side(self, x, corners, slot, **kwargs):
    """Add mirrored polygons at -x and +x; corners are (y, z), seen from +x."""
    self.polygon([(x, y, z) for y, z in corners], slot, **kwargs)
    mirrored = [(-x, y, z) for y, z in reversed(corners)]
    return self.polygon(mirrored, slot, **kwargs)

  def end(self, z, x, y, slot, **kwargs):
    """Add a rectangle over x, y that faces the way z points (its sign)."""
    (x0, x1), (y0, y1) = x, y
    points = [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]
    if z < 0:
      points.reverse()
    return self.polygon(points, slot, **kwargs)

  def ring(self, center, radius, sides, slot, axis='z', **kwargs):
    """Add a two-sided disc with `sides` corners around the given axis."""
    (cx, cy, cz), points = center, []
    ru, rv = radius if isinstance(radius, tuple) else (radius, radius)
    for k in range(sides):
      a = 2 * math.pi * (k + 0.5) / sides
      u, v = ru * math.cos(a), rv * math.sin(a)
      offset = (u, v, 0) if axis == 'z' else (0, v, u)
      points.append((cx + offset[0], cy + offset[1], cz + offset[2]))
    return self.polygon(points, slot, flat=True, **kwargs)

  def mesh(self) -> Mesh:
    """Return the polygons as a mesh."""
    points, ids, slots, textures, flat = zip(*self.polygons, strict=True)
    verts = np.array([p for polygon in points for p in polygon], np.float32)
    return Mesh(
      verts,
      np.array([len(p) for p in points]),
      np.array(ids, np.uint8),
      np.array(slots),
      np.array(textures, np.uint8),
      np.array(flat),
      (float(abs(verts[:, 0]).max()), float(abs(verts[:, 2]).max())),
    )
