"""Vehicles and people on the street."""

import math

from data.streets import layout, shapes, vehicles
from data.streets.stage import Stage, along


def fill(stage: Stage) -> None:
  """Put the traffic of a scene on its stage, rare and large kinds first."""
  rng = stage.rng
  if rng.random() < 0.38:
    _long(stage, _tram, 3 if rng.random() < 0.5 else 4, 5.2)
  if rng.random() < 0.42:
    _long(stage, _bus, 3, 4.0)
  if rng.random() < 0.5:
    _long(stage, _truck, 3, 3.0)
  for _ in range(rng.choice((0, 1, 1, 2))):
    _two_wheeler(stage, 'motorcycle', rng.random() < 0.6)
  for _ in range(rng.choice((0, 1, 1, 2, 2))):
    _two_wheeler(stage, 'bicycle', rng.random() < 0.6)
  for _ in range(rng.choice((0, 1, 2, 2, 3))):
    _car(stage, stage.spot(stage.lanes(), 6, 50, 2.4), moving=True)
  _parked(stage)
  for _ in range(rng.randint(1, 7)):
    _person(stage)


def _car(stage, spot, moving):
  if spot is None:
    return
  rng = stage.rng
  kind = rng.choices(('sedan', 'hatch', 'suv', 'van'), (4, 4, 3, 1.3))[0]
  colors = stage.colors(
    'car', 'glass', 'tyre', 'front lamp', 'rear lamp', 'trim', 'plate'
  )
  size = rng.uniform(0.94, 1.06)
  heading = along(spot[0]) + rng.gauss(0, 0.03)
  if moving and rng.random() < 0.12:
    heading += rng.uniform(-1, 1)  # turning
  stage.put(
    vehicles.car(kind),
    *spot,
    heading,
    colors,
    scale=(1, size, size),
    shadow=1.4,
  )


def _parked(stage):
  """Put cars along the kerb, most of the way or here and there."""
  street, rng = stage.street, stage.rng
  for s, side in street.sides.items():
    share = rng.choice((0.0, 0.35, 0.8)) if street.parking else 0.12
    x = s * (side.kerb - 1.15)
    z = stage.camera.z - 40 + rng.uniform(0, 5)
    while z < stage.camera.z + 40:
      if (
        rng.random() < share
        and stage.camera.sees(x, z, 3.0, 42)
        and stage.free(x, z, 1.9)
        and not street.in_crossing(z, 3)
      ):
        stage.take(x, z, 2.3)
        _car(stage, (x, z), moving=False)
      z += 5.8


def _long(stage, build, parts, length):
  """Put a vehicle in parts, each of which is sorted by its own depth."""
  street, rng = stage.street, stage.rng
  columns = stage.lanes()
  if build is _tram:
    columns = [(0, 0)] if street.bed else stage.lanes(inner=True)
  spot = stage.spot(columns, 10, 40, 0.5, tries=14)
  if spot is None:
    return
  x, z = spot
  heading = along(x + rng.uniform(-0.1, 0.1))
  step = math.copysign(length, math.cos(heading))
  offsets = [(k - (parts - 1) / 2) * step for k in range(parts)]
  if not all(stage.free(x, z + o, length / 2) for o in offsets[:: parts - 1]):
    # It comes too near the camera: push it away, along the street.
    z += math.copysign(parts * length / 2, z - stage.camera.z)
    if not all(stage.free(x, z + o, length / 2) for o in offsets):
      return
  for o in offsets:
    stage.take(x, z + o, length / 2)
  for k, (m, colors) in enumerate(build(stage, parts)):
    stage.put(m, x, z + offsets[k], heading, colors, shadow=3.2)


def _tram(stage, parts):
  colors = stage.colors(
    'tram', 'glass', 'trim', 'tram top', 'front lamp', 'trim'
  )
  names = ['rear'] + ['middle'] * (parts - 2) + ['front']
  return [(vehicles.tram(name), colors) for name in names]


def _bus(stage, parts):
  colors = stage.colors('bus', 'glass', 'tyre', 'stripe')
  colors += stage.colors('lamp amber', 'rear lamp')
  colors.append(tuple(0.9 * c for c in colors[0]))  # the roof
  return [(vehicles.bus(name), colors) for name in ('rear', 'middle', 'front')]


def _truck(stage, parts):
  colors = stage.colors(
    'cab', 'glass', 'tyre', 'cargo', 'trim', 'front lamp', 'rear lamp'
  )
  return [(vehicles.truck(name), colors) for name in ('rear', 'middle', 'cab')]


def _dress(stage, cap):
  return stage.colors('skin', 'top', 'trousers', cap, 'shoes')


def _person(stage):
  rng, street = stage.rng, stage.street
  columns = stage.walks()
  if rng.random() < 0.25:
    columns = [(-street.half, street.half)]  # crossing the road
  spot = stage.spot(columns, 5, 24, 0.35)
  if spot is None:
    return
  kerb = min(side.kerb for side in street.sides.values())
  y = layout.KERB if abs(spot[0]) > kerb else 0.0
  size = rng.uniform(0.92, 1.08) if rng.random() < 0.9 else 0.68
  stage.put(
    shapes.person(rng.randrange(4)), *spot, None, _dress(stage, 'hair'),
    y=y, scale=(size * rng.choice((-1, 1)), size, 1), shadow=1.7,
  )  # fmt: skip


def _two_wheeler(stage, kind, ridden):
  """Put a two-wheeler on the road with its rider, or on the pavement."""
  rng, street = stage.rng, stage.street
  if ridden:
    columns = [(-street.half + 0.6, street.half - 0.6)]
  else:
    columns = stage.walks()
  spot = stage.spot(columns, 5, 18, 0.8)
  if spot is None:
    return
  x, z = spot
  heading = along(x) + rng.gauss(0, 0.25)
  if rng.random() < 0.5:
    heading = rng.uniform(0, 2 * math.pi)
  y = 0.0 if ridden else layout.KERB
  if kind == 'motorcycle':
    names = ('car', 'tyre', 'trim', 'black', 'front lamp', 'rear lamp')
    m = vehicles.motorcycle()
  else:
    names = ('frame', 'tyre', 'road', 'black')
    m = vehicles.bicycle()
  stage.put(m, x, z, heading, stage.colors(*names), y=y, shadow=0.9)
  if ridden:
    # Just nearer to the camera than the saddle, hence painted after it.
    away = math.hypot(x - stage.camera.x, z - stage.camera.z)
    px = x + (stage.camera.x - x) * 0.05 / away
    pz = z + (stage.camera.z - z) * 0.05 / away
    stage.put(shapes.rider(), px, pz, None, _dress(stage, 'helmet'), shadow=1.7)
