"""The plan of a street: what the ground is made of and what lines it."""

import dataclasses
import itertools
import random

from data.streets import mesh, shapes
from data.streets.mesh import Instance

REACH = 150.0  # metres of street that are built, in both directions
KERB = 0.14  # height of the pavement
LANE = 3.3


@dataclasses.dataclass(frozen=True)
class Side:
  """One side of the street; distances from its middle line, in metres."""

  kerb: float
  verge: tuple[float, float]  # grass, empty when both are equal
  walk: tuple[float, float]
  front: float  # where the houses begin


@dataclasses.dataclass(frozen=True)
class Street:
  """The plan of a street, in metres."""

  lanes: int  # in each direction
  bed: float  # half the width of a track bed in the middle, 0: none
  half: float  # half the carriageway
  parking: bool  # a strip for parked cars on both sides
  bays: bool  # it is paved and marked, hence void, rather than bare road
  sides: dict[int, Side]  # -1: left, 1: right
  crossing: tuple[float, float] | None  # z range of a cross street

  def lane(self, k: int) -> float:
    """Return the x of the middle of lane k, counted from the middle line."""
    return self.bed + (k + 0.5) * LANE

  def in_crossing(self, z: float, margin: float) -> bool:
    """Return whether z lies in the cross street or within `margin` of it."""
    if self.crossing is None:
      return False
    return self.crossing[0] - margin < z < self.crossing[1] + margin

  def runs(self) -> list[tuple[float, float]]:
    """Return the z ranges that the cross street leaves."""
    if self.crossing is None:
      return [(-REACH, REACH)]
    return [(-REACH, self.crossing[0]), (self.crossing[1], REACH)]


def plan(rng: random.Random, wide: float, bays: float) -> Street:
  """Draw a street.

  Args:
    rng: the scene's.
    wide: chance of a second lane each way.
    bays: chance that parked cars stand on a paved strip of their own.
  """
  lanes = 2 if rng.random() < wide else 1
  bed = 1.7 if rng.random() < 0.1 else 0.0
  half = bed + lanes * LANE + rng.uniform(0.1, 0.8)
  parking, paved = rng.random() < 0.5, rng.random() < bays
  sides = {}
  for s in (-1, 1):
    kerb = half + (2.3 if parking else 0.0)
    verge = rng.uniform(1.2, 3.0) if rng.random() < 0.4 else 0.0
    walk = rng.uniform(2.5, 5.0)
    yard = rng.uniform(1.5, 5.0) if rng.random() < 0.35 else 0.0
    sides[s] = Side(
      kerb=kerb,
      verge=(kerb + 0.2, kerb + verge) if verge else (kerb, kerb),
      walk=(kerb + verge, kerb + verge + walk),
      front=kerb + verge + walk + yard,
    )
  crossing = None
  if rng.random() < 0.6:
    z = rng.uniform(16, 45) * rng.choice((-1, 1, 1))
    crossing = (z - rng.uniform(3.5, 5), z + rng.uniform(3.5, 5))
  return Street(lanes, bed, half, parking, paved, sides, crossing)


def ground(rng: random.Random, look, street: Street) -> list[Instance]:
  """Return everything flat, in painting order."""
  far = 3 * REACH
  kerbs = (-street.sides[-1].kerb, street.sides[1].kerb)
  grass, road = look.color(rng, 'grass'), look.color(rng, 'road')
  line = {'second': look.color(rng, 'line', 0.02)}
  out = [
    patch('terrain', mesh.GRASS, grass, (-far, far), (-far, far)),
    patch('road', mesh.ROAD, road, kerbs, (-far, far), **line),
  ]
  if street.crossing:
    # Parameter 1: without lines of its own.
    line['params'] = (1.0, 0.0, 0.0, 0.0)
    out.append(
      patch('road', mesh.ROAD, road, (-far, far), street.crossing, **line)
    )
  for run in street.runs():
    out += _strips(look, rng, street, run, road)
  walk = look.color(rng, 'walk')
  for side, run in itertools.product(street.sides.items(), street.runs()):
    out += _pavement(rng, *side, run, walk, grass)
  return out


def _strips(look, rng, street, run, road):
  """Paved parking strips and the track bed, both void."""
  strips = []
  if street.parking and street.bays:
    for s, side in street.sides.items():
      x, slabs = (s * street.half, s * side.kerb), (2.6, 5.2, 0.0, 0.0)
      strips.append(('parking', 'parking', x, slabs))
  if street.bed:
    x, sleepers = (-street.bed, street.bed), (1.0, 0.7, 0.0, 0.0)
    strips.append(('rail track', 'ground', x, sleepers))
  for name, kind, x, params in strips:
    color = look.color(rng, kind)
    yield patch(name, mesh.PAVING, color, x, run, second=road, params=params)


def _pavement(rng, s, side, run, walk, grass):
  """Add the raised pavement with its kerb, and the grass on it."""
  x = sorted((s * side.kerb, s * side.front))
  place = (sum(x) / 2, 0.0, sum(run) / 2)
  size = (x[1] - x[0], KERB, run[1] - run[0])
  dark = tuple(0.72 * c for c in walk)
  slab = rng.choice((0.6, 0.9, 1.5))
  pave = shapes.box('sidewalk', mesh.PAVING)
  params = (slab, slab, 0.0, 0.0)
  yield Instance(pave, place, size, 0.0, [dark, walk], dark, params)
  for band in (side.verge, (side.walk[1], side.front)):
    if band[1] - band[0] > 0.3:
      x = (s * band[0], s * band[1])
      yield patch('terrain', mesh.GRASS, grass, x, run, y=KERB)


def patch(name, texture, color, x, z, y=0.0, **kwargs) -> Instance:
  """Return a flat rectangle over the ranges x and z, at height y."""
  (x0, x1), (z0, z1) = sorted(x), z
  place, size = ((x0 + x1) / 2, y, (z0 + z1) / 2), (x1 - x0, 1.0, z1 - z0)
  return Instance(
    shapes.patch(name, texture), place, size, 0.0, [color], **kwargs
  )
