"""What lines a street: houses, walls, fences, hedges, gaps, the skyline."""

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

from data.streets import layout, mesh, shapes
from data.streets.mesh import Instance

# Layers are painted in this order; within one, the far before the near.
BACKDROP, SECOND, FRONT = range(3)


class Plot(NamedTuple):
  """A stretch of frontage: side -1 or 1, where it begins, z and length."""

  side: int
  front: float
  z: float
  length: float

  def block(self, m, depth, height, colors, y=0.0, back=0.0, **kwargs):
    """Place the unit mesh `m` over the whole length, `back` from the front."""
    x = self.side * (self.front + back + depth / 2)
    place = (x, y, self.z + self.length / 2)
    return Instance(
      m, place, (depth, height, self.length), 0.0, colors, **kwargs
    )


def build(
  rng: random.Random, look, street, tall: float, sites: float
) -> dict[int, list[Instance]]:
  """Build everything beyond the pavements, by layer.

  Args:
    rng: the scene's.
    look: palette.
    street: the plan.
    tall: chance that a house is a town house rather than a low one.
    sites: weight of building sites, which have no class; that of houses is 6.
  """
  out = {BACKDROP: list(_skyline(rng, look)), SECOND: [], FRONT: []}
  kinds = (_house, _wall, _fence, _hedge, _lot, _site)
  for s, side in street.sides.items():
    mood = rng.choice((0.5, 1.0, 1.6))  # some streets are more open
    weights = (6, 1.3 * mood, 1.5 * mood, 0.8 * mood, 0.7 * mood, sites)
    for z0, z1 in street.runs():
      z = max(z0, -90) + 2.5
      while z < min(z1, 110) - 4:
        length = min(rng.uniform(9, 24), z1 - z - 1.5)
        plot = Plot(s, side.front, z, length)
        kind = rng.choices(kinds, weights)[0]
        parts = list(kind(rng, look, plot, tall))
        if kind is not _house:
          parts += _behind(rng, look, plot, tall)
        for layer, instance in parts:
          out[layer].append(instance)
        z += length
  return out


Parts = Iterator[tuple[int, Instance]]


def _house(rng, look, plot, tall, layer=FRONT) -> Parts:
  """Add a house: windows in a grid, a shop floor or a saddle roof."""
  plot = plot._replace(length=plot.length - 0.2)
  depth = rng.uniform(9, 14)
  low = rng.random() > tall
  floor = rng.uniform(2.8, 3.6)
  floors = rng.randint(1, 3) if low else rng.randint(3, 9)
  height = floor * floors + 0.8
  color, window = look.color(rng, 'facade'), look.color(rng, 'window')
  roof = look.color(rng, 'tiles')
  shop = 3.6 if not low and rng.random() < 0.6 else 0.0
  params = (rng.uniform(1.6, 3.6), floor, rng.uniform(0.35, 0.7), shop)
  m = shapes.box('building', mesh.FACADE)
  yield (
    layer,
    plot.block(
      m, depth, height, [color, roof],
      second=window, params=params, shadow=height,
    ),
  )  # fmt: skip
  if low:
    rise = rng.uniform(1.5, 3.5)
    gable = shapes.gable('building')
    yield layer, plot.block(gable, depth, rise, [color, roof], y=height)


def _wall(rng, look, plot, tall) -> Parts:
  del tall
  height, color = rng.uniform(1.1, 2.6), look.color(rng, 'wall')
  stones = (rng.choice((0.5, 0.9)), rng.choice((0.25, 0.5)), 0.0, 0.0)
  joint = tuple(0.75 * c for c in color)
  m = shapes.box('wall', mesh.BRICK)
  yield (
    FRONT,
    plot.block(
      m, 0.3, height, [color] * 2, y=layout.KERB,
      second=joint, params=stones, shadow=height,
    ),
  )  # fmt: skip


def _fence(rng, look, plot, tall) -> Parts:
  del tall
  height, color = rng.uniform(1.1, 2.4), look.color(rng, 'fence')
  bars = (rng.choice((0.16, 0.3, 0.45)), rng.uniform(0.3, 0.6), 0.0, 0.0)
  m = shapes.box('fence', mesh.BARS)
  yield (
    FRONT,
    plot.block(
      m, 0.1, height, [color] * 2, y=layout.KERB,
      second=look.color(rng, 'behind'), params=bars, shadow=height,
    ),
  )  # fmt: skip


def _hedge(rng, look, plot, tall) -> Parts:
  del tall
  height, color = rng.uniform(1.2, 2.4), look.color(rng, 'leaves')
  colors = [color, tuple(1.15 * c for c in color)]
  dark = tuple(0.6 * c for c in color)
  m = shapes.box('vegetation', mesh.LEAVES)
  yield (
    FRONT,
    plot.block(
      m, 1.2, height, colors, y=layout.KERB, second=dark, shadow=height
    ),
  )


def _lot(rng, look, plot, tall) -> Parts:
  """Add a parking lot, which is void."""
  del tall
  color, line = look.color(rng, 'parking'), (0.8, 0.8, 0.8)
  lot = shapes.patch('parking', mesh.PAVING)
  bays = (5.0, 2.6, 0.0, 0.0)
  yield (
    BACKDROP,
    plot.block(lot, 20.0, 1.0, [color], y=0.02, second=line, params=bays),
  )


def _site(rng, look, plot, tall) -> Parts:
  """Add a building site, a stack of goods: large and of no class."""
  del tall
  height, color = rng.uniform(2.0, 5.0), look.color(rng, 'prop')
  dark = tuple(0.65 * c for c in color)
  m = shapes.box('unlabeled', mesh.CLUTTER)
  yield (
    FRONT,
    plot.block(
      m, 4.0, height, [color, dark], second=dark, shadow=height, back=0.5
    ),
  )


def _behind(rng, look, plot, tall) -> Parts:
  """Add what is seen over a wall or through a gap."""
  if rng.random() < 0.6:
    back = plot._replace(front=plot.front + rng.uniform(8, 22))
    yield from _house(rng, look, back, tall, SECOND)
    return
  for _ in range(rng.randint(2, 4)):
    size = rng.uniform(5, 9)
    x = plot.side * (plot.front + rng.uniform(4, 9))
    z = plot.z + rng.uniform(0, plot.length)
    yield SECOND, tree(rng, look, x, z, size)


def tree(rng: random.Random, look, x: float, z: float, size: float) -> Instance:
  """Return a tree of the height `size`, which faces the camera."""
  leaf = look.color(rng, 'leaves')
  colors = [look.color(rng, 'trunk')]
  colors += [tuple(g * c for c in leaf) for g in (1.2, 1.0, 0.82)]
  width = size * rng.uniform(0.6, 0.9)
  m = shapes.tree(rng.randrange(6))
  dark = tuple(0.5 * c for c in leaf)
  return Instance(
    m, (x, 0, z), (width, size, 1), None, colors, dark, shadow=size
  )


def _skyline(rng, look) -> Iterator[Instance]:
  """Close the view all around: houses, woods, hills in the haze."""
  for k in range(14):
    angle = rng.uniform(-0.2, 0.2) + k * math.tau / 14
    distance = rng.uniform(160, 300)
    place = (distance * math.sin(angle), 0.0, distance * math.cos(angle))
    width, height = rng.uniform(40, 110), rng.uniform(8, 30)
    kind = rng.choices(('facade', 'leaves', 'far'), (4, 4, 3))[0]
    color = look.color(rng, kind)
    if kind == 'facade':
      m, size = shapes.box('building', mesh.FACADE), (width, height, 20.0)
      window, grid = look.color(rng, 'window'), (4.0, 3.5, 0.5, 0.0)
      yield Instance(m, place, size, angle, [color] * 2, window, grid)
    else:
      wood = kind == 'leaves'
      m = shapes.bush(rng.randrange(6)) if wood else shapes.hill()
      dark = tuple(0.7 * c for c in color)
      size = (width, height, 1.0)
      yield Instance(m, place, size, None, [color] * 4, dark)
