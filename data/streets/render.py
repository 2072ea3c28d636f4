"""Street scenes with labels, in two domains, at any size; NumPy and Pillow.

image, label = render('game', index=7, size=(96, 192), split='train')
"""

import random

import numpy as np

from data.streets import camera as cameras
from data.streets import (
  frontage,
  furniture,
  layout,
  look,
  mesh,
  raster,
  shade,
  traffic,
)
from data.streets import stage as stages

DOMAINS = ('game', 'city')
SPLITS = ('train', 'val', 'tune')


def render(
  domain: str, index: int, size: tuple[int, int], split: str = 'train'
) -> tuple[np.ndarray, np.ndarray]:
  """Draw one scene; the same arguments always give the same arrays.

  Args:
    domain: 'game' (source) or 'city' (target).
    index: which scene, 0 or more.
    size: (H, W) in pixels; the scene does not depend on it.
    split: 'train', 'val' or 'tune'; they share no scene.

  Returns:
    (image, label): u8[H, W, 3] RGB, u8[H, W] Cityscapes label ids.

  Raises:
    ValueError: there is no such domain or split.
  """
  if domain not in DOMAINS or split not in SPLITS:
    raise ValueError(
      f'no scenes of {domain}/{split}; domains: {", ".join(DOMAINS)}; '
      f'splits: {", ".join(SPLITS)}'
    )
  height, width = size
  # A string seed is hashed with SHA-512: the same on every machine.
  rng = random.Random(f'streets/{domain}/{split}/{index}')
  light = getattr(look, domain)(rng)
  street, eye, hood = _view(rng, domain)
  ground, upright, casters = _scene(rng, domain, light, street, eye)
  polygons, surfaces = raster.assemble(ground + upright, eye, mesh.IDS['sky'])
  big = raster.paint(polygons, eye.focal, height, width)
  shadow = shade.shadows(casters, eye, light, height, width)
  picture = shade.shade(big, surfaces, eye, light, street, shadow)
  label = surfaces.ids[big[1::2, 1::2]]
  _hood(picture, label, hood, light.color(rng, 'hood'))
  noise = np.random.default_rng(rng.getrandbits(64))
  return shade.develop(picture, light, noise), label


def _view(rng, domain):
  """Draw the street, the camera in it, and how much of its car it sees."""
  if domain == 'city':
    street = layout.plan(rng, wide=0.4, bays=0.15)
    lane = street.lane(rng.randrange(street.lanes))
    return street, cameras.dashcam(rng, lane), rng.uniform(0.045, 0.07)
  street = layout.plan(rng, wide=0.6, bays=0.9)
  left, right = -street.sides[-1].front + 1, street.sides[1].front - 1
  eye = cameras.free(rng, left, right)
  driving = eye.y < 2.6 and abs(eye.x) < street.half
  hood = rng.uniform(0.1, 0.28) if driving and rng.random() < 0.6 else 0.0
  return street, eye, hood


def _scene(rng, domain, light, street, eye):
  """Return (ground, upright, casters of shadows), each in painting order."""
  ground = layout.ground(rng, light, street)
  game = domain == 'game'
  tall, sites, props = (0.6, 1.8, (2, 6)) if game else (0.75, 0.2, (0, 4))
  layers = frontage.build(rng, light, street, tall, sites)
  stage = stages.Stage(rng, light, street, eye)
  traffic.fill(stage)
  furniture.fill(stage, props)
  upright = []
  for layer in (frontage.BACKDROP, frontage.SECOND, frontage.FRONT):
    upright += sorted(layers[layer], key=lambda i: -_near_edge(i, eye))
  upright += sorted(stage.things, key=lambda i: -_distance(i, eye))
  return ground, upright, stage.things + layers[frontage.FRONT]


def _distance(instance, eye):
  x, _, z = instance.place
  return ((x - eye.x) ** 2 + (z - eye.z) ** 2) ** 0.5


def _near_edge(instance, eye):
  """Return the distance to the nearest side of a box that is not turned."""
  x, _, z = instance.place
  dx = max(abs(x - eye.x) - instance.scale[0] / 2, 0)
  dz = max(abs(z - eye.z) - instance.scale[2] / 2, 0)
  return (dx**2 + dz**2) ** 0.5


def _hood(picture, label, share, color):
  """Paint the camera's own car over the bottom of the picture, in place."""
  if not share:
    return
  height, width = label.shape
  x = np.linspace(-1, 1, width, dtype=np.float32)
  y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
  depth = y - (1 - share * (1 - 0.35 * x**2 - 0.4 * x**8))
  inside = depth > 0
  label[inside] = mesh.IDS['ego vehicle']
  shine = 0.45 + 0.5 * np.clip(1 - depth / share, 0, 1)
  tone = shine[..., None] * np.array(color, np.float32)
  picture[inside] = np.broadcast_to(tone, picture.shape)[inside]
