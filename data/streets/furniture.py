"""Trees, lamps, signs, lights and props along the pavements."""

import math

from data.streets import frontage, mesh, shapes
from data.streets.stage import Stage, along


def fill(stage: Stage, props: tuple[int, int]) -> None:
  """Put the furniture of a scene on its stage.

  Args:
    stage: has the traffic on it.
    props: bounds of the number of bins and boxes, which have no class.
  """
  rng = stage.rng
  for s, side in stage.street.sides.items():
    _rows(stage, s, side)
  for _ in range(rng.randint(1, 4)):
    _sign(stage)
  if rng.random() < 0.7:
    for _ in range(rng.randint(1, 3)):
      _light(stage)
  for _ in range(rng.randint(*props)):
    _prop(stage)


def _rows(stage, s, side):
  """Lamps and trees at regular distances."""
  rng, camera = stage.rng, stage.camera
  pole = stage.color('pole')
  lamp = [pole, stage.color('white')]
  kerb = s * (side.kerb + 0.45)
  turn = 0.0 if s < 0 else math.pi
  trees = rng.random() < 0.7
  spacing = rng.uniform(7, 13)
  wide = side.verge[1] > side.verge[0]
  x = s * (sum(side.verge) / 2 if wide else side.kerb + 0.7)
  z = camera.z - 60 + rng.uniform(0, spacing)
  while trees and z < camera.z + 60:
    if (
      camera.sees(x, z, 4.0, 60)
      and stage.free(x, z, 0.6)
      and not stage.street.in_crossing(z, 4)
    ):
      stage.take(x, z, 0.6)
      stage.things.append(
        frontage.tree(rng, stage.look, x, z, rng.uniform(4.5, 8.5))
      )
    z += spacing
  if rng.random() < 0.25 * (1 - trees) + 0.2:
    return
  z = camera.z - 60 + rng.uniform(0, 20)
  while z < camera.z + 60:
    if (
      camera.sees(kerb, z, 3.0, 60)
      and stage.free(kerb, z, 0.3)
      and not stage.street.in_crossing(z, 1)
    ):
      stage.put(shapes.lamp(), kerb, z, turn, lamp, shadow=7.0)
    z += 20


def _facing(stage, x):
  """Return the heading of a sign at x: against the traffic, a little turned."""
  return along(x) + math.pi + stage.rng.gauss(0, 0.15)


# Boards and their colours: ground, rim, symbol.
_RED, _BLUE = ('white', 'sign red', 'black'), ('sign blue', 'white', 'white')
_SIGNS = {
  'round': (_RED, _BLUE),
  'triangle': (_RED,),
  'square': (('sign yellow', 'black', 'black'), _BLUE),
  'stop': (('sign red', 'white', 'white'),),
  'board': (('sign green', 'white', 'white'), _BLUE),
}


def _sign(stage):
  rng = stage.rng
  spot = stage.spot(stage.kerbs(), 4, 22, 0.3)
  if spot is None:
    return
  x, z = spot
  kind = rng.choice(tuple(_SIGNS))
  heading = _facing(stage, x)
  colors = stage.colors(*rng.choice(_SIGNS[kind]), 'sign back')
  height, size = rng.uniform(2.0, 2.9), rng.uniform(1.0, 1.25)
  pole = stage.colors('pole')
  stage.put(shapes.post(), x, z, 0.0, pole, scale=(1, height + 0.1, 1))
  ox, oz = 0.1 * math.sin(heading), 0.1 * math.cos(heading)
  board = shapes.sign(kind)
  scale = (size, size, 1)
  stage.put(board, x + ox, z + oz, heading, colors, y=height, scale=scale)


def _light(stage):
  rng, street = stage.rng, stage.street
  spot = stage.spot(stage.kerbs(), 4, 20, 0.3)
  if spot is None:
    return
  x, z = spot
  heading = _facing(stage, x)
  height = rng.uniform(2.3, 3.6)
  on = rng.choice(('lamp red', 'lamp amber', 'lamp green'))
  names = ('lamp red', 'lamp amber', 'lamp green')
  lamps = [stage.color(n if n == on else 'lamp off', 0.02) for n in names]
  colors = [stage.color('black'), *lamps]
  pole = stage.colors('pole')
  stage.put(shapes.post(), x, z, 0.0, pole, scale=(1.2, height + 1.3, 1.2))
  ox, oz = 0.22 * math.sin(heading), 0.22 * math.cos(heading)
  stage.put(shapes.traffic_light(), x + ox, z + oz, heading, colors, y=height)
  if rng.random() < 0.4:
    # A mast arm over the road with a second head.
    reach = math.copysign(min(4.5, street.half), -x)
    arm = shapes.box('pole')
    stage.put(
      arm, x + reach / 2, z, 0.0, pole * 2, y=height + 2.2,
      scale=(abs(reach), 0.14, 0.14),
    )  # fmt: skip
    stage.put(shapes.post(), x, z, 0.0, pole, scale=(1.3, height + 2.3, 1.3))
    stage.put(
      shapes.traffic_light(), x + reach + ox, z + oz, heading, colors,
      y=height + 1.5,
    )  # fmt: skip


def _prop(stage):
  """Bins, boxes, kiosks, awnings: what no class is for."""
  rng = stage.rng
  spot = stage.spot(stage.walks() + stage.kerbs(), 4, 24, 0.7)
  if spot is None:
    return
  size = (rng.uniform(0.5, 1.1), rng.uniform(0.8, 1.5), rng.uniform(0.5, 1.1))
  if rng.random() < 0.3:
    size = (rng.uniform(1.2, 2.0), rng.uniform(2.0, 2.8), rng.uniform(1.5, 3.0))
  color = stage.color('prop')
  lid = tuple(0.7 * c for c in color)
  stage.put(
    shapes.box('static', mesh.CLUTTER), *spot, rng.gauss(0, 0.3), [color, lid],
    scale=size, second=lid, shadow=size[1],
  )  # fmt: skip
