"""Where things can stand: in view, and not inside one another."""

import math
import random

from data.streets.mesh import Instance


class Stage:
  """The things put so far, and the room that they leave.

  Attributes:
    things: what stands on the street.
    taken: (x, z, radius) of each, so that nothing stands in something.
  """

  def __init__(self, rng: random.Random, look, street, camera):
    """Start without things; only the camera takes room."""
    self.rng, self.look, self.street, self.camera = rng, look, street, camera
    self.things = []
    self.taken = [(camera.x, camera.z, 1.5)]

  def color(self, kind, vary=0.06):
    """Draw a colour of the look's palette."""
    return self.look.color(self.rng, kind, vary)

  def colors(self, *kinds):
    """Draw a colour of each kind."""
    return [self.color(kind) for kind in kinds]

  def put(self, m, x, z, heading, colors, y=0.0, scale=(1, 1, 1), **kwargs):
    """Put a mesh somewhere; `take` is what keeps its room free."""
    self.things.append(Instance(m, (x, y, z), scale, heading, colors, **kwargs))

  def free(self, x, z, radius):
    """Return whether a circle (m) touches nothing that was put."""
    return all(
      (x - a) ** 2 + (z - b) ** 2 > (radius + r) ** 2 for a, b, r in self.taken
    )

  def take(self, x, z, radius):
    """Keep a circle (m) free of other things."""
    self.taken.append((x, z, radius))

  def spot(self, columns, near, far, radius, tries=10):
    """Find and take a free place in view: (x, z), or None.

    Args:
      columns: (low, high) ranges of x; one is drawn at each try.
      near, far: depth in metres for a lens of 60 degrees.
      radius: room that it needs, in metres.
      tries: places looked at before giving up.
    """
    camera, rng = self.camera, self.rng
    for _ in range(tries):
      x = rng.uniform(*rng.choice(columns))
      reach = far * 1.1
      z = camera.z + rng.uniform(-reach, reach)
      if camera.sees(x, z, near, far) and self.free(x, z, radius):
        self.take(x, z, radius)
        return x, z
    return None

  def kerbs(self):
    """Return the x ranges next to the kerb, where posts stand."""
    return [
      tuple(sorted((s * (w.kerb + 0.35), s * (w.kerb + 0.8))))
      for s, w in self.street.sides.items()
    ]

  def walks(self):
    """Return the x ranges that people walk on."""
    return [
      tuple(sorted((s * (w.walk[0] + 0.3), s * (w.walk[1] - 0.2))))
      for s, w in self.street.sides.items()
    ]

  def lanes(self, inner=False):
    """Return the x ranges that vehicles drive on; `inner`: the inmost only."""
    count = 1 if inner else self.street.lanes
    middles = [self.street.lane(k) for k in range(count)]
    return [(s * m - 0.2, s * m + 0.2) for m in middles for s in (-1, 1)]


def along(x: float) -> float:
  """Return the heading of the traffic at x: on the right, +z where x > 0."""
  return 0.0 if x > 0 else math.pi
