"""Vehicles as meshes, in metres, the same in both domains; they face +z.

Each function returns a cached mesh and names its colour slots. Buses, trucks
and trams come in parts of a few metres, so that each part can be sorted by its
own distance.
"""

import functools
import math

from data.streets import mesh


def _wheels(b, x, axles, radius, slot):
  for z in axles:
    corners = []
    for k in range(8):
      a = 2 * math.pi * (k + 0.5) / 8
      corners.append((radius + radius * math.sin(a), z - radius * math.cos(a)))
    b.side(x, corners, slot)


def _lamps(b, half_width, height, z, front, rear):
  """Two white lamps on the +z face, two red ones on the -z face."""
  w = half_width
  for x in ((-w, -0.55 * w), (0.55 * w, w)):
    b.end(z, x, (height, height + 0.17), front)
    b.end(-z, x, (height, height + 0.17), rear)


@functools.cache
def car(kind: str) -> mesh.Mesh:
  """Return a car.

  Slots: paint, glass, tyre, front lamps, rear lamps, dark trim, plate.
  """
  # Body height, cabin height, cabin from rear to front, slopes of its ends.
  body, roof, rear, front, slope_rear, slope_front = {
    'sedan': (0.88, 1.45, -1.6, 0.95, 0.65, 0.75),
    'hatch': (0.92, 1.52, -2.0, 0.85, 0.30, 0.70),
    'suv': (1.05, 1.78, -2.2, 0.90, 0.25, 0.55),
    'van': (1.10, 2.10, -2.3, 1.55, 0.08, 0.60),
  }[kind]
  w, z = 0.9, 2.25
  b = mesh.Builder('car')
  b.box((-w, w), (0.28, body), (-z, z), 0, inset=(0.05, 0.05, 0.08, 0.15))
  ends = (0.22, 0.22, slope_rear, slope_front)
  b.box((-0.85, 0.85), (body, roof), (rear, front), 0, inset=ends)
  c, top, low = 0.86, roof - 0.1, body + 0.04
  # Side windows lie on the slanted cabin wall, hence the two x values.
  for s in (1, -1):
    points = [
      (s * c, low, front - 0.15),
      (s * c, low, rear + 0.15),
      (s * (c - 0.2), top, rear + slope_rear + 0.05),
      (s * (c - 0.2), top, front - slope_front - 0.05),
    ]
    b.polygon(points if s > 0 else points[::-1], 1)
  up, inner = front - slope_front + 0.03, 0.6
  b.polygon(
    [
      (-0.75, low, front),
      (0.75, low, front),
      (inner, top, up),
      (-inner, top, up),
    ],
    1,
  )
  up = rear + slope_rear - 0.03
  b.polygon(
    [
      (0.75, low, rear),
      (-0.75, low, rear),
      (-inner, top, up),
      (inner, top, up),
    ],
    1,
  )
  for s in (-1, 1):
    b.end(s * (z + 0.01), (-w, w), (0.26, 0.45), 5)
  _lamps(b, 0.85, body - 0.27, z + 0.02, 3, 4)
  for s in (-1, 1):
    b.end(s * (z + 0.03), (-0.26, 0.26), (0.46, 0.58), 6)
  _wheels(b, w + 0.01, (-1.4, 1.4), 0.33, 2)
  return b.mesh()


@functools.cache
def bus(part: str) -> mesh.Mesh:
  """Return a third of a bus.

  Slots: paint, glass, tyre, stripe, front, rear, roof.
  """
  w, h, z = 1.25, 3.1, 2.0
  b = mesh.Builder('bus')
  b.box((-w, w), (0.35, h), (-z, z), 0, 6)
  b.side(w + 0.01, [(1.35, z), (1.35, -z), (2.55, -z), (2.55, z)], 1)
  b.side(w + 0.01, [(0.6, z), (0.6, -z), (0.95, -z), (0.95, z)], 3)
  for k in (-1, 1):  # posts between the windows
    c = k * z / 2
    b.side(
      w + 0.02,
      [(1.35, c + 0.1), (1.35, c - 0.1), (2.55, c - 0.1), (2.55, c + 0.1)],
      0,
    )
  if part == 'front':
    b.end(z + 0.01, (-1.15, 1.15), (1.15, 2.5), 1)
    b.end(z + 0.01, (-0.8, 0.8), (2.6, 2.95), 4)  # where it goes
    for x in ((-1.15, -0.75), (0.75, 1.15)):
      b.end(z + 0.01, x, (0.6, 0.82), 4)
  if part == 'rear':
    b.end(-z - 0.01, (-1.05, 1.05), (1.6, 2.6), 1)
    b.end(-z - 0.01, (-1.2, 1.2), (0.5, 0.85), 3)
    for x in ((-1.2, -0.95), (0.95, 1.2)):
      b.end(-z - 0.02, x, (0.75, 1.3), 5)
  if part != 'middle':
    _wheels(b, w + 0.02, (0.3,), 0.48, 2)
  return b.mesh()


@functools.cache
def truck(part: str) -> mesh.Mesh:
  """Return a third of a truck.

  Slots: cab, glass, tyre, box, chassis, front lamps, rear lamps.
  """
  b = mesh.Builder('truck')
  if part == 'cab':
    b.box((-1.2, 1.2), (0.5, 2.7), (-1, 1), 0, inset=(0.05, 0.05, 0, 0.25))
    b.polygon(
      [
        (-1.1, 1.5, 1.13),
        (1.1, 1.5, 1.13),
        (1.05, 2.4, 0.99),
        (-1.05, 2.4, 0.99),
      ],
      1,
    )
    b.side(1.22, [(1.5, 0.7), (1.5, -0.4), (2.3, -0.4), (2.3, 0.6)], 1)
    b.end(1.02, (-1.2, 1.2), (0.45, 0.75), 4)
    _lamps(b, 1.1, 0.8, 1.05, 5, 5)
    _wheels(b, 1.22, (0.0,), 0.5, 2)
    return b.mesh()
  b.box((-1.1, 1.1), (0.45, 0.95), (-1.5, 1.5), 4)
  b.box((-1.27, 1.27), (0.95, 3.5), (-1.5, 1.5), 3)
  if part == 'rear':
    b.end(-1.52, (-0.04, 0.04), (1.0, 3.4), 4)  # between the two doors
    b.end(-1.52, (-1.2, 1.2), (0.5, 0.7), 4)
    for x in ((-1.15, -0.8), (0.8, 1.15)):
      b.end(-1.53, x, (0.7, 0.92), 6)
  _wheels(b, 1.2, (-0.4,), 0.5, 2)
  return b.mesh()


@functools.cache
def tram(part: str) -> mesh.Mesh:
  """Return a part of a tram.

  Slots: lower paint, glass, skirt, upper paint, lamps, roof gear.
  """
  w, z = 1.3, 2.6
  b = mesh.Builder('train')
  nose = {'front': (0, 0, 0, 0.5), 'rear': (0, 0, 0.5, 0)}
  ends = nose.get(part, (0, 0, 0, 0))
  b.box((-w, w), (0.15, 0.6), (-z, z), 2)
  b.box((-w, w), (0.6, 1.5), (-z, z), 0)
  b.box((-w, w), (1.5, 3.3), (-z, z), 3, inset=ends)
  b.box((-0.9, 0.9), (3.3, 3.75), (-1.6, 1.6), 5)
  cut = 0.3 if part != 'middle' else 0.1
  b.side(
    w + 0.01,
    [(1.55, z - cut), (1.55, cut - z), (2.75, 0.4 - z), (2.75, z - 0.4)],
    1,
  )
  for k in (-1, 1):
    c = k * z / 2
    b.side(
      w + 0.02,
      [(0.65, c + 0.5), (0.65, c - 0.5), (2.75, c - 0.5), (2.75, c + 0.5)],
      1,
    )  # doors, glazed from top to bottom
  for s, end in ((1, 'front'), (-1, 'rear')):
    if part == end:
      points = [
        (-1.15, 1.5, s * (z + 0.01)),
        (1.15, 1.5, s * (z + 0.01)),
        (1.1, 2.9, s * (z - 0.36)),
        (-1.1, 2.9, s * (z - 0.36)),
      ]
      b.polygon(points if s > 0 else points[::-1], 1)
      for x in ((-1.1, -0.6), (0.6, 1.1)):
        b.end(s * (z + 0.01), x, (0.9, 1.2), 4)
      b.end(s * (z + 0.02), (-0.12, 0.12), (2.85, 3.1), 4)
  return b.mesh()


@functools.cache
def bicycle() -> mesh.Mesh:
  """Return a bicycle.

  Slots: frame, tyre, what is seen through the wheels, saddle and bar.
  """
  b = mesh.Builder('bicycle')
  for z in (-0.55, 0.55):
    b.box((-0.04, 0.04), (0.05, 0.66), (z - 0.22, z + 0.22), 1)
    b.ring((0, 0.35, z), 0.36, 10, 1, axis='x')
    b.ring((0, 0.35, z), 0.26, 10, 2, axis='x')

  def tube(y0, z0, y1, z1):
    d = 0.05
    points = [
      (0, y0 - d, z0),
      (0, y0 + d, z0),
      (0, y1 + d, z1),
      (0, y1 - d, z1),
    ]
    b.polygon(points, 0, flat=True)

  tube(0.38, -0.05, 0.85, -0.2)
  tube(0.38, -0.05, 0.85, 0.4)
  tube(0.82, -0.2, 0.82, 0.4)
  tube(0.36, -0.55, 0.80, -0.2)
  tube(0.36, -0.55, 0.38, 0.0)
  tube(0.36, 0.52, 1.0, 0.38)
  tube(0.36, 0.58, 1.0, 0.44)
  b.box((-0.1, 0.1), (0.9, 0.98), (-0.35, -0.08), 3)
  b.box((-0.3, 0.3), (0.98, 1.06), (0.34, 0.44), 3)
  return b.mesh()


@functools.cache
def motorcycle() -> mesh.Mesh:
  """Return a motorcycle.

  Slots: paint, tyre, engine, seat, front lamp, rear lamp.
  """
  b = mesh.Builder('motorcycle')
  for z in (-0.7, 0.72):
    b.box((-0.08, 0.08), (0.02, 0.64), (z - 0.14, z + 0.14), 1)
    b.ring((0.0, 0.33, z), 0.34, 10, 1, axis='x')
    b.ring((0.0, 0.33, z), 0.16, 8, 2, axis='x')
  b.box((-0.2, 0.2), (0.2, 0.5), (-0.4, 0.4), 2)
  b.box((-0.22, 0.22), (0.42, 0.7), (-0.55, 0.5), 0)
  b.box((-0.24, 0.24), (0.66, 1.0), (0.0, 0.5), 0, inset=(0.08, 0.08, 0, 0.1))
  b.box((-0.2, 0.2), (0.7, 0.88), (-0.75, 0.0), 3, inset=(0, 0, 0.1, 0))
  b.box((-0.14, 0.14), (0.66, 0.84), (-1.02, -0.6), 0, inset=(0, 0, 0.1, 0))
  b.box(
    (-0.22, 0.22), (0.7, 1.18), (0.5, 0.74), 0, inset=(0.06, 0.06, 0.05, 0.12)
  )
  b.box((-0.1, 0.1), (0.64, 0.7), (0.45, 1.02), 0)
  b.box((-0.42, 0.42), (1.02, 1.1), (0.4, 0.5), 2)
  b.end(0.75, (-0.14, 0.14), (0.78, 1.0), 4)
  b.end(-1.03, (-0.14, 0.14), (0.68, 0.8), 5)
  return b.mesh()
