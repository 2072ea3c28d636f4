"""The things of a street as meshes, all in metres, the same in both domains.

Each function returns a cached mesh and names its colour slots.
"""

import functools
import math
import random

from data.streets import mesh


@functools.cache
def box(name: str, texture: int = mesh.PLAIN) -> mesh.Mesh:
  """Return a unit box: x, z in -0.5..0.5, y in 0..1. Slots: sides, top."""
  unit = (-0.5, 0.5)
  return mesh.Builder(name, texture).box(unit, (0, 1), unit, 0, 1).mesh()


@functools.cache
def patch(name: str, texture: int = mesh.PLAIN) -> mesh.Mesh:
  """Return a unit square on the ground. Slot: itself."""
  h = 0.5
  corners = [(-h, 0, h), (h, 0, h), (h, 0, -h), (-h, 0, -h)]
  return mesh.Builder(name, texture).polygon(corners).mesh()


@functools.cache
def gable(name: str) -> mesh.Mesh:
  """Return a saddle roof over the unit square. Slots: gable, tiles.

  Its ridge lies along z.
  """
  h, b = 0.5, mesh.Builder(name)
  b.polygon([(-h, 0, h), (h, 0, h), (0, 1, h)], 0)
  b.polygon([(h, 0, -h), (-h, 0, -h), (0, 1, -h)], 0)
  b.polygon([(h, 0, h), (h, 0, -h), (0, 1, -h), (0, 1, h)], 1)
  b.polygon([(-h, 0, -h), (-h, 0, h), (0, 1, h), (0, 1, -h)], 1)
  return b.mesh()


@functools.cache
def person(pose: int, name: str = 'person') -> mesh.Mesh:
  """Return a person. Slots: skin, top, trousers, hair, shoes.

  It faces +z and is made of flat cut-outs.
  """
  b = mesh.Builder(name)
  stride = (0.05, 0.22, 0.34, 0.14)[pose]

  def limb(x0, y0, x1, y1, width, slot):
    h = width / 2
    points = [(x0 - h, y0), (x0 + h, y0), (x1 + h, y1), (x1 - h, y1)]
    b.polygon([(x, y, 0) for x, y in points], slot, flat=True)

  for s in (-1, 1):
    limb(s * (0.08 + stride), 0.08, s * 0.09, 0.85, 0.17, 2)
    limb(s * (0.1 + stride) + 0.03, 0.0, s * (0.1 + stride), 0.1, 0.2, 4)
    limb(s * (0.24 + 0.4 * stride), 0.78, s * 0.21, 1.42, 0.12, 1)
    limb(s * (0.24 + 0.4 * stride), 0.70, s * 0.24, 0.80, 0.10, 0)
  torso = [(-0.18, 0.8), (0.18, 0.8), (0.24, 1.4), (0.12, 1.5), (-0.12, 1.5)]
  torso.append((-0.24, 1.4))
  b.polygon([(x, y, 0) for x, y in torso], 1, flat=True)
  b.ring((0, 1.63, 0), (0.12, 0.15), 8, 0)
  b.ring((0, 1.70, 0), (0.12, 0.09), 6, 3)
  return b.mesh()


@functools.cache
def rider() -> mesh.Mesh:
  """Return a rider without the vehicle. Slots as `person`, hair: helmet.

  It sits on a saddle at 0.9 m and is a cut-out.
  """
  b = mesh.Builder('rider')
  for s in (-1, 1):
    leg = [(s * 0.1, 0.9), (s * 0.24, 0.75), (s * 0.2, 0.25), (s * 0.08, 0.3)]
    b.polygon([(x, y, 0) for x, y in leg], 2, flat=True)
    shoe = [
      (s * 0.06, 0.2),
      (s * 0.22, 0.2),
      (s * 0.22, 0.32),
      (s * 0.06, 0.32),
    ]
    b.polygon([(x, y, 0) for x, y in shoe], 4, flat=True)
    arm = [(s * 0.2, 1.45), (s * 0.27, 1.38), (s * 0.34, 1.0), (s * 0.25, 1.0)]
    b.polygon([(x, y, 0) for x, y in arm], 1, flat=True)
  torso = [(-0.18, 0.82), (0.18, 0.82), (0.24, 1.4), (0.1, 1.52), (-0.1, 1.52)]
  torso.append((-0.24, 1.4))
  b.polygon([(x, y, 0) for x, y in torso], 1, flat=True)
  b.ring((0, 1.64, 0), (0.12, 0.15), 8, 0)
  b.ring((0, 1.71, 0), (0.15, 0.12), 8, 3)
  return b.mesh()


@functools.cache
def tree(kind: int) -> mesh.Mesh:
  """Return a tree. Slots: trunk, leaves.

  It is a cut-out, 1 m wide and high, to be turned to the camera.
  """
  rng = random.Random(f'tree {kind}')
  b = mesh.Builder('vegetation')
  trunk = [(-0.035, 0), (0.035, 0), (0.025, 0.5), (-0.025, 0.5)]
  b.polygon([(x, y, 0) for x, y in trunk], 0, flat=True)
  blobs = [(0, 0.68, 0.42, 0.32, 3), (-0.2, 0.55, 0.25, 0.2, 2)]
  blobs += [(0.19, 0.58, 0.27, 0.22, 2), (-0.04, 0.74, 0.3, 0.2, 1)]
  for x, y, ru, rv, slot in blobs:
    _blob(b, rng, x, y, ru, rv, 13, slot)
  return b.mesh()


@functools.cache
def bush(kind: int) -> mesh.Mesh:
  """Return leaves without a trunk, 1 m wide and high. Slots as `tree`."""
  rng = random.Random(f'bush {kind}')
  b = mesh.Builder('vegetation')
  _blob(b, rng, 0, 0.45, 0.5, 0.5, 14, 3)
  _blob(b, rng, 0.1, 0.6, 0.33, 0.33, 11, 1)
  return b.mesh()


def _blob(b, rng, x, y, ru, rv, sides, slot):
  points = []
  for k in range(sides):
    a, r = 2 * math.pi * k / sides, rng.uniform(0.82, 1.12)
    px, py = x + ru * r * math.cos(a), y + rv * r * math.sin(a)
    points.append((px, max(py, 0.0), 0))
  b.polygon(points, slot, texture=mesh.LEAVES, flat=True)


@functools.cache
def lamp() -> mesh.Mesh:
  """Return a street lamp of 7 m; its arm points to +x. Slots: post, lamp."""
  b = mesh.Builder('pole')
  b.box((-0.1, 0.1), (0, 7), (-0.1, 0.1), 0, inset=(0.03, 0.03, 0.03, 0.03))
  b.box((0, 1.8), (6.9, 7.05), (-0.06, 0.06), 0)
  return b.box((1.3, 2.0), (6.8, 7.0), (-0.14, 0.14), 1).mesh()


@functools.cache
def post() -> mesh.Mesh:
  """Return a thin post, 1 m high, to be scaled. Slot: itself."""
  b = mesh.Builder('pole')
  return b.box((-0.075, 0.075), (0, 1), (-0.075, 0.075)).mesh()


@functools.cache
def traffic_light() -> mesh.Mesh:
  """Return the head of a traffic light. Slots: box, red, amber, green.

  It stands on y = 0, its lamps on +z.
  """
  b = mesh.Builder('traffic light')
  b.box((-0.24, 0.24), (0, 1.25), (-0.15, 0.15), 0)
  for k, slot in enumerate((3, 2, 1)):
    b.ring((0, 0.24 + 0.39 * k, 0.16), 0.16, 8, slot)
  return b.mesh()


@functools.cache
def sign(kind: str) -> mesh.Mesh:
  """Return a board on y = 0 facing +z. Slots: ground, rim, symbol, back."""
  b = mesh.Builder('traffic sign')
  if kind == 'board':
    b.box((-0.75, 0.75), (0, 0.9), (-0.03, 0.03), 3)
    b.end(0.04, (-0.75, 0.75), (0, 0.9), 1)
    b.end(0.045, (-0.69, 0.69), (0.06, 0.84), 0)
    b.end(0.05, (-0.5, 0.5), (0.52, 0.66), 2)
    return b.end(0.05, (-0.5, 0.2), (0.24, 0.38), 2).mesh()
  sides = {'round': 12, 'triangle': 3, 'square': 4, 'stop': 8}[kind]
  r = {'triangle': 0.58, 'square': 0.55}.get(kind, 0.45)
  turn = math.pi / 2 if kind == 'triangle' else math.pi / sides

  def plate(radius, z, slot, flat=False):
    points = []
    for k in range(sides):
      a = turn + 2 * math.pi * k / sides
      points.append((radius * math.cos(a), 0.45 + radius * math.sin(a), z))
    b.polygon(points, slot, flat=flat)

  plate(r, 0.0, 3, flat=True)
  plate(r, 0.02, 1)
  plate(0.75 * r, 0.03, 0)
  return b.end(0.04, (-0.14, 0.14), (0.36, 0.54), 2).mesh()


@functools.cache
def hill() -> mesh.Mesh:
  """Return a ridge without a class, 1 m wide and high. Slot: itself."""
  rng = random.Random('hill')
  b = mesh.Builder('unlabeled')
  top = [(0.5 - k / 12, rng.uniform(0.5, 1.0), 0) for k in range(13)]
  return b.polygon([(-0.5, 0, 0), (0.5, 0, 0), *top], flat=True).mesh()
