"""Light, shadow, pattern and air: from polygon numbers to colours."""

import io
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data.streets import camera as cameras
from data.streets import mesh, raster, surface


class Pixels(NamedTuple):
  """Where each of N pixels looks, and what it meets there."""

  numbers: np.ndarray  # i32[N] row of the surfaces
  rays: np.ndarray  # f32[3, N]
  normal: np.ndarray  # f32[3, N]
  depth: np.ndarray  # f32[N] metres forward

  @classmethod
  def trace(cls, numbers, surfaces, camera, height, width):
    """Intersect each pixel's ray with the plane of its polygon."""
    rays = cameras.rays(camera, height, width).reshape(3, -1)
    normal = surfaces.normal[numbers].T
    slope = np.einsum('ij,ij->j', normal, rays)
    slope = np.where(np.abs(slope) < 1e-6, 1e-6, slope)
    depth = np.clip(surfaces.offset[numbers] / slope, 0.1, 600)
    return cls(numbers, rays, normal, depth)


def shade(big, surfaces, camera, look, street, shadow) -> np.ndarray:
  """Colour a picture.

  Args:
    big: i32[2H, 2W] from `raster.paint`.
    surfaces: the rows that `big` refers to.
    camera: the camera that painted it.
    look: light and air.
    street: its markings are painted on the road.
    shadow: f32[H, W] from `shadows`.

  Returns:
    f32[H, W, 3], 0..1 and a little more.
  """
  height, width = big.shape[0] // 2, big.shape[1] // 2
  numbers = big[1::2, 1::2].ravel()
  light, shaded = _light(surfaces, camera, look)
  # The four samples of a pixel are averaged, which smooths the edges.
  plain = (surfaces.color * light)[big].reshape(height, 2, width, 2, 3)
  out = (plain[:, 0, :, 0] + plain[:, 1, :, 0]) + (
    plain[:, 0, :, 1] + plain[:, 1, :, 1]
  )
  out = 0.25 * out.reshape(-1, 3)
  second = (surfaces.second * light)[numbers]

  pixels = Pixels.trace(numbers, surfaces, camera, height, width)
  gain, mix, middle = _patterns(pixels, surfaces, camera, look, street, width)
  line = np.array(look.palette['centre'][0], np.float32) / 255
  second[middle] = line * light[numbers[middle]]
  out = out * gain[:, None] * (1 - mix[:, None]) + second * mix[:, None]
  out *= (1 - shadow.ravel() * (1 - shaded[numbers]))[:, None]

  air = 1 - np.exp(-look.haze * pixels.depth)[:, None]
  out += air * (np.array(look.horizon, np.float32) - out)
  sky = np.flatnonzero(numbers == 0)
  out[sky] = _sky(pixels.rays[:, sky], look)
  return out.reshape(height, width, 3)


def _light(surfaces, camera, look):
  """Return the light on each polygon, and its share in a shadow."""
  sun = np.array(look.sun, np.float32)
  up = surfaces.normal[:, 1]
  facing = np.maximum(surfaces.normal @ sun, 0)
  facing = np.where(surfaces.flat & (up < 0.9), 0.6, facing)[:, None]
  ambient = look.ambient * np.array(look.shade, np.float32)
  # Less of the sky reaches what faces sideways.
  ambient = ambient * (0.8 + 0.2 * np.abs(up))[:, None]
  direct = look.direct * np.array(look.light, np.float32) * facing
  light = ambient + direct
  shaded = 1 - look.shadow * (direct / light).mean(1)
  if look.softness:
    shaded = np.full_like(shaded, 0.45)
  # What faces up and lies low; the outlines are not made for roofs.
  ground = (up > 0.9) & (surfaces.offset + camera.y < 1)
  return light, np.where(ground, shaded, 1.0)


def _patterns(pixels, surfaces, camera, look, street, width):
  """Gain and mix of every pixel, and which ones lie on the middle line."""
  numbers, rays, normal, depth = pixels
  gain, mix = np.ones_like(depth), np.zeros_like(depth)
  middle = np.zeros(0, np.int64)
  texture = surfaces.texture[numbers]
  order = np.argsort(texture, kind='stable')
  kinds = (mesh.ROAD, *surface.PATTERNS)
  edges = np.searchsorted(texture[order], np.arange(max(kinds) + 2))
  eye = (camera.x, camera.y, camera.z)
  for kind in kinds:
    at = order[edges[kind] : edges[kind + 1]]
    if not at.size:
      continue
    x, y, z = (rays[i, at] * depth[at] + eye[i] for i in range(3))
    n = normal[:, at]
    level = np.abs(n[1]) > 0.9
    u = np.where(level, x, x * n[2] - z * n[0])
    v = np.where(level, z, y)
    pixel = depth[at] / (camera.focal * width)
    params = surfaces.params[numbers[at]].T
    if kind == mesh.ROAD:
      gain[at] = surface.asphalt(u, v, pixel)
      line, centre = surface.marks(street, u, v, pixel)
      mix[at] = np.maximum(line, centre) * (params[0] == 0)
      middle = at[centre > line]
    else:
      gain[at], mix[at] = surface.PATTERNS[kind](u, v, pixel, params)
  return 1 + look.texture * (gain - 1), mix, middle


def _sky(rays, look):
  """Paler towards the horizon, with clouds."""
  side = np.sqrt(rays[0] ** 2 + rays[2] ** 2) + 1e-6
  rise = np.clip(rays[1] / side, 0, 4)
  share = np.sqrt(np.clip(rise * 1.3, 0, 1))[:, None]
  color = np.array(look.horizon, np.float32) * (1 - share)
  color += np.array(look.zenith, np.float32) * share
  reach = 26 / (rise + 0.12)
  u, v = rays[0] / side * reach + 999, rays[2] / side * reach + 999
  cloud = np.clip(surface.smooth(u, v) * 1.6 + look.clouds - 0.5, 0, 1)
  cloud = (cloud * np.clip(rise * 8, 0, 1))[:, None]
  return color + cloud * 0.85 * (np.array((1.0, 0.99, 0.97)) - color)


def shadows(things, camera, look, height: int, width: int) -> np.ndarray:
  """Return f32[H, W]: 1 where the ground lies in shadow.

  Under a hard sun each thing casts the outline of its box; under an overcast
  sky only the ground below it is dark, without an edge.
  """
  picture = Image.new('L', (width, height), 0)
  draw = ImageDraw.Draw(picture)
  soft = look.softness > 0
  axes = camera.axes().tolist()
  eye = (camera.x, camera.y, camera.z)
  scale = camera.focal * width
  drop = max(look.sun[1], 0.2)
  slide = (0.0, 0.0) if soft else (look.sun[0] / drop, look.sun[2] / drop)
  for thing in things:
    if not thing.shadow or (soft and thing.shadow > 4):
      continue
    outline = _outline(thing, slide, 0.15 if soft else 0.0)
    points = []
    for x, z in outline:
      d = (x - eye[0], -eye[1], z - eye[2])
      points.append(
        [sum(a * b for a, b in zip(r, d, strict=True)) for r in axes]
      )
    xy = raster.project(points, scale, width / 2, height / 2)
    if len(xy) >= 6:
      draw.polygon(xy, fill=255)
  if soft:
    picture = picture.filter(ImageFilter.BoxBlur(look.softness * width / 2))
  return np.asarray(picture, np.float32) / 255


def _outline(thing, slide, margin):
  """Return the corners (x, z) of the shadow of a thing's box on the ground."""
  hx = thing.mesh.extent[0] * abs(thing.scale[0]) + margin
  hz = thing.mesh.extent[1] * thing.scale[2] + margin
  heading, low = thing.heading, 0.0
  if heading is None:  # a cut-out: as deep as it is wide
    hx = 0.6 * hx
    heading, hz = 0.0, hx
    low = 0.35 * thing.shadow if thing.shadow > 2 else 0.0
  c, s = math.cos(heading), math.sin(heading)
  px, _, pz = thing.place
  points = []
  for h in (low, thing.shadow):
    for a, b in ((hx, hz), (hx, -hz), (-hx, -hz), (-hx, hz)):
      points.append(
        (a * c + b * s + px - h * slide[0], b * c - a * s + pz - h * slide[1])
      )
  return _hull(points)


def _hull(points):
  """Return the convex hull of points (monotone chain)."""
  points = sorted(set(points))
  halves = []
  for run in (points, points[::-1]):
    half = []
    for p in run:
      while len(half) > 1 and (
        (half[-1][0] - half[-2][0]) * (p[1] - half[-2][1])
        <= (half[-1][1] - half[-2][1]) * (p[0] - half[-2][0])
      ):
        half.pop()
      half.append(p)
    halves += half[:-1]
  return halves


def develop(picture, look, rng) -> np.ndarray:
  """Turn light f32[H, W, 3] into the camera's picture u8[H, W, 3]."""
  height, width = picture.shape[:2]
  out = picture * (look.exposure * np.array(look.cast, np.float32))
  grey = out.mean(-1, keepdims=True)
  out = grey + look.saturation * (out - grey)
  out = (out - 0.42) * look.contrast + 0.42
  out = out * (1 - look.lift) + look.lift
  if look.vignette:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    out *= (1 - look.vignette * 0.5 * (x + y))[..., None]
  if look.blur:
    image = Image.fromarray(_to_bytes(out))
    image = image.filter(ImageFilter.GaussianBlur(look.blur * width))
    out = np.asarray(image, np.float32) / 255
  if look.noise:
    out = out + look.noise * rng.standard_normal(out.shape, np.float32)
  out = _to_bytes(out)
  return compress(out, look.quality) if look.quality else out


def _to_bytes(picture):
  return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def compress(picture, quality: int) -> np.ndarray:
  """Return the picture as a camera's JPEG leaves it."""
  file = io.BytesIO()
  Image.fromarray(picture).save(file, 'JPEG', quality=quality)
  return np.asarray(Image.open(file))
