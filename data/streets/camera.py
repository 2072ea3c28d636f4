"""The pinhole camera, and the two ways of holding it.

World coordinates are metres: x to the right of the street, y up, z along it.
Picture coordinates are in units of the picture's *width*, centred, y down, so a
scene is the same at every size (a taller picture shows more sky and road).
"""

import dataclasses
import math
import random

import numpy as np

NEAR = 0.25  # metres; nothing closer is drawn


@dataclasses.dataclass(frozen=True)
class Camera:
  """Position (m), angles (radians) and focal length (picture widths)."""

  x: float
  y: float
  z: float
  yaw: float  # 0 looks along +z, positive turns to the right
  pitch: float  # positive looks up
  roll: float
  focal: float

  def axes(self) -> np.ndarray:
    """Return f32[3, 3]: the camera's right, up and forward in the world."""
    sy, cy = math.sin(self.yaw), math.cos(self.yaw)
    sp, cp = math.sin(self.pitch), math.cos(self.pitch)
    sr, cr = math.sin(self.roll), math.cos(self.roll)
    right = np.array([cy, 0.0, -sy])
    up = np.array([-sy * sp, cp, -cy * sp])
    forward = np.array([sy * cp, sp, cy * cp])
    return np.stack(
      [cr * right + sr * up, cr * up - sr * right, forward]
    ).astype(np.float32)

  def ahead(self, x: float, z: float) -> tuple[float, float]:
    """Return depth and rightward offset (m) of a ground point, without roll."""
    dx, dz = x - self.x, z - self.z
    sy, cy = math.sin(self.yaw), math.cos(self.yaw)
    return dx * sy + dz * cy, dx * cy - dz * sy

  def sees(self, x: float, z: float, near: float, far: float) -> bool:
    """Return whether what stands at (x, z) would be well in the picture."""
    depth, right = self.ahead(x, z)
    reach = self.focal / 0.87  # a longer lens sees farther
    if not near < depth < far * reach:
      return False
    if abs(right) > 0.47 * depth / self.focal:
      return False
    # The height of a point one metre above the ground, for a 2:1 picture.
    slope = (1.0 - self.y) / depth - math.tan(self.pitch)
    return -0.24 < self.focal * slope < 0.24


def rays(camera: Camera, height: int, width: int) -> np.ndarray:
  """Return f32[3, H, W]: each pixel's direction in the world, 1 forward."""
  px = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
  py = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / width
  right, up, forward = camera.axes()
  px = (px / camera.focal)[None, :]
  py = (py / camera.focal)[:, None]
  return np.stack([forward[i] + px * right[i] - py * up[i] for i in range(3)])


def focal(degrees: float) -> float:
  """Return the focal length in picture widths of a horizontal field of view."""
  return 0.5 / math.tan(math.radians(degrees) / 2)


def dashcam(rng: random.Random, lane: float) -> Camera:
  """Draw a camera behind the windscreen, in the lane whose middle is `lane`."""
  return Camera(
    x=lane + rng.uniform(-0.25, 0.25),
    y=rng.uniform(1.2, 1.4),
    z=0.0,
    yaw=math.radians(rng.gauss(0, 1.5)),
    pitch=math.radians(rng.uniform(-4.0, -2.0)),
    roll=math.radians(rng.gauss(0, 0.4)),
    focal=focal(rng.uniform(57, 60)),
  )


def free(rng: random.Random, left: float, right: float) -> Camera:
  """Draw a camera anywhere between the house fronts at x = `left` and `right`.

  It has one of four habits of cameras in games: driving (also in the wrong
  lane), walking, flying above the street, and looking across it.
  """
  habits = ('drive', 'walk', 'fly', 'across')
  habit = rng.choices(habits, (3, 3, 3, 2))[0]
  x = rng.uniform(left, right)
  y, yaw, pitch = rng.uniform(1.1, 2.6), rng.gauss(0, 18), rng.uniform(-9, 6)
  if habit == 'walk':
    # From the pavement, turned towards the street.
    side = rng.choice((-1, 1))
    x = right - 0.6 if side > 0 else left + 0.6
    yaw, pitch = -side * rng.uniform(5, 60), rng.uniform(-10, 4)
  elif habit == 'fly':
    x, y = 0.6 * x, rng.uniform(4, 13)
    yaw, pitch = rng.uniform(-70, 70), -rng.uniform(8, 32) * (0.4 + y / 20)
  elif habit == 'across':
    # The far side is what it looks at, so it steps back from it.
    side = rng.choice((-1, 1))
    x = left + 0.6 if side > 0 else right - 0.6
    y = rng.uniform(1.2, 5.0)
    yaw, pitch = side * rng.uniform(50, 110), rng.uniform(-12, 0)
  if rng.random() < 0.5:
    yaw = 180 - yaw  # the other way along, towards the same side
  return Camera(
    x=x,
    y=y,
    z=0.0,
    yaw=math.radians(yaw),
    pitch=math.radians(pitch),
    roll=math.radians(rng.gauss(0, 2.5)),
    focal=focal(rng.uniform(55, 85)),
  )
