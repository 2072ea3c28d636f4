"""From instances and a camera to a map of polygon numbers, far before near."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from data.streets import camera as cameras
from data.streets.mesh import Instance


class Surfaces(NamedTuple):
  """What each polygon looks like; row 0 is the sky."""

  ids: np.ndarray  # u8[P] label id
  color: np.ndarray  # f32[P, 3]
  second: np.ndarray  # f32[P, 3] the texture's other colour
  normal: np.ndarray  # f32[P, 3]
  offset: np.ndarray  # f32[P] plane: normal . (point - camera) = offset
  texture: np.ndarray  # u8[P]
  params: np.ndarray  # f32[P, 4]
  flat: np.ndarray  # bool[P]


class Polygons(NamedTuple):
  """P polygons in painting order, in camera coordinates."""

  verts: np.ndarray  # f32[V, 3] right, up, forward
  counts: np.ndarray  # i64[P] vertices of each
  seen: np.ndarray  # bool[P] False: turned away from the camera


def assemble(
  instances: list[Instance], camera, sky: int
) -> tuple[Polygons, Surfaces]:
  """Collect all polygons of all instances, in order.

  Args:
    instances: in painting order.
    camera: its position is the origin of the planes.
    sky: label id of what no polygon covers.

  Returns:
    (polygons, surfaces); row k + 1 of the surfaces belongs to polygon k.
  """
  meshes = [i.mesh for i in instances]
  number = np.arange(len(meshes))
  polygons = np.repeat(number, [len(m.counts) for m in meshes])
  points = _place(instances, camera)
  counts = np.concatenate([m.counts for m in meshes])
  first = np.cumsum(counts) - counts
  p0, p1, p2 = points[first], points[first + 1], points[first + 2]
  normal = np.cross(p1 - p0, p2 - p0)
  normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
  offset = np.einsum('ij,ij->i', normal, p0)
  flat = np.concatenate([m.flat for m in meshes])
  base = np.cumsum([0] + [len(i.colors) for i in instances[:-1]])
  slots = np.concatenate([m.slots for m in meshes]) + base[polygons]
  colors = np.array([c for i in instances for c in i.colors], np.float32)
  second = np.array([i.second for i in instances], np.float32)
  params = np.array([i.params for i in instances], np.float32)

  def rows(values, empty=0):
    head = np.full_like(values[:1], empty)
    return np.concatenate([head, values])

  surfaces = Surfaces(
    ids=rows(np.concatenate([m.ids for m in meshes]), sky),
    color=rows(colors[slots]),
    second=rows(second[polygons]),
    normal=rows(normal),
    offset=rows(offset),
    texture=rows(np.concatenate([m.textures for m in meshes])),
    params=rows(params[polygons]),
    flat=rows(flat, True),
  )
  seen = flat | (offset < 0)  # the camera is at the origin
  return Polygons(points @ camera.axes().T, counts, seen), surfaces


def _place(instances, camera):
  """f32[V, 3]: all vertices in the world, from the camera's position."""
  verts = np.concatenate([i.mesh.verts for i in instances])
  poses = []
  for i in instances:
    a = _heading(i, camera)
    poses.append((math.cos(a), math.sin(a), *i.scale, *i.place))
  repeats = [len(i.mesh.verts) for i in instances]
  poses = np.repeat(np.array(poses, np.float32), repeats, axis=0)
  cos, sin, *scale, px, py, pz = poses.T
  x, y, z = (verts[:, k] * scale[k] for k in range(3))
  x, z = x * cos + z * sin + px, z * cos - x * sin + pz
  eye = np.array((camera.x, camera.y, camera.z), np.float32)
  return np.stack([x, y + py, z], axis=1) - eye


def _heading(instance, camera):
  if instance.heading is not None:
    return instance.heading
  # A cut-out turns to the camera around its own vertical.
  return math.atan2(camera.x - instance.place[0], camera.z - instance.place[2])


def paint(
  polygons: Polygons, focal: float, height: int, width: int
) -> np.ndarray:
  """Paint polygons in order at twice the size.

  Args:
    polygons: from `assemble`.
    focal: in picture widths.
    height, width: of the picture, pixels.

  Returns:
    i32[2H, 2W]: 1 + polygon number, 0 where there is none.
  """
  verts, counts, seen = polygons
  scale = 2 * width
  first = np.cumsum(counts) - counts
  depth = verts[:, 2]
  nearest = np.minimum.reduceat(depth, first)
  safe = np.maximum(depth, cameras.NEAR)
  # Pillow's pixel (i, j) has its centre at (i, j).
  u = verts[:, 0] / safe * (focal * scale) + (width - 0.5)
  v = height - 0.5 - verts[:, 1] / safe * (focal * scale)
  left, right = np.minimum.reduceat(u, first), np.maximum.reduceat(u, first)
  top, low = np.minimum.reduceat(v, first), np.maximum.reduceat(v, first)
  inside = (right > 0) & (left < scale) & (low > 0) & (top < 2 * height)
  large = (right - left) * (low - top) > (0.0022 * scale) ** 2
  whole = nearest >= cameras.NEAR
  drawn = seen & np.where(
    whole, inside & large, np.maximum.reduceat(depth, first) > cameras.NEAR
  )
  picture = Image.new('I', (scale, 2 * height), 0)
  polygon = ImageDraw.Draw(picture).polygon
  flat = np.stack([u, v], axis=1).ravel().tolist()
  begin, end = (2 * first).tolist(), (2 * (first + counts)).tolist()
  whole = whole.tolist()
  for k in np.flatnonzero(drawn).tolist():
    if whole[k]:
      polygon(flat[begin[k] : end[k]], fill=k + 1)
      continue
    points = verts[first[k] : first[k] + counts[k]].tolist()
    xy = project(points, focal * scale, width, height)
    if len(xy) >= 6:
      polygon(xy, fill=k + 1)
  return np.asarray(picture)


def project(points, focal: float, x0: float, y0: float) -> list[float]:
  """Cut a polygon at the near plane and project it.

  Args:
    points: [(right, up, forward)], metres.
    focal: in pixels.
    x0, y0: half the picture's size, pixels.

  Returns:
    [x, y, x, y, ...], pixels; empty where it is all behind the plane.
  """
  xy = []
  for x, y, z in _clip(points):
    xy += (x / z * focal + x0 - 0.5, y0 - 0.5 - y / z * focal)
  return xy


def _clip(points):
  """Cut a polygon at the near plane."""
  out = []
  for a, b in zip(points, points[1:] + points[:1], strict=True):
    inside = a[2] >= cameras.NEAR
    if inside:
      out.append(a)
    if inside != (b[2] >= cameras.NEAR):
      t = (cameras.NEAR - a[2]) / (b[2] - a[2])
      out.append([a[i] + t * (b[i] - a[i]) for i in range(3)])
  return out
