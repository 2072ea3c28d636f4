"""What the two domains are made of and how they are lit.

`game`: clean, saturated, a low or high sun with hard shadows, clear air.
`city`: other paints and stones, an overcast sky, haze, little contrast, the
colour cast of a real camera. The shapes are those of shapes.py in both.
"""

import dataclasses
import math
import random

# Base colours, 0..255. A surface takes one of its list and varies it a little.
SHARED = {
  'glass': [(40, 48, 56), (56, 66, 74), (28, 34, 40)],
  'tyre': [(26, 26, 28)],
  'trim': [(40, 40, 42)],
  'plate': [(225, 225, 220)],
  'front lamp': [(250, 248, 225)],
  'rear lamp': [(190, 20, 24)],
  'skin': [(232, 190, 160), (196, 146, 110), (120, 82, 58), (90, 60, 44)],
  'hair': [(30, 24, 20), (70, 48, 30), (150, 120, 80), (110, 108, 106)],
  'shoes': [(30, 28, 28), (90, 70, 56), (220, 220, 216)],
  'white': [(238, 238, 234)],
  'sign red': [(205, 28, 36)],
  'sign blue': [(28, 84, 180)],
  'sign yellow': [(240, 190, 30)],
  'sign green': [(24, 110, 70)],
  'sign back': [(128, 130, 132)],
  'black': [(24, 24, 26)],
  'lamp off': [(50, 44, 40)],
  'lamp red': [(255, 50, 40)],
  'lamp amber': [(255, 180, 40)],
  'lamp green': [(60, 240, 130)],
}

GAME = SHARED | {
  'road': [
    (74, 74, 80),
    (92, 90, 92),
    (62, 64, 72),
    (108, 102, 96),
    (120, 120, 118),
    (84, 86, 90),
  ],
  'line': [(232, 230, 224)],
  'centre': [(232, 178, 40)],
  'walk': [(196, 184, 164), (212, 202, 186), (178, 170, 160), (150, 146, 140)],
  'parking': [(118, 112, 104), (96, 96, 100)],
  'ground': [(176, 152, 116), (150, 132, 108)],
  'grass': [
    (104, 160, 52),
    (140, 168, 60),
    (176, 168, 84),
    (86, 144, 60),
    (96, 120, 60),
  ],
  'wall': [
    (206, 172, 132),
    (188, 110, 84),
    (224, 212, 190),
    (150, 140, 136),
    (130, 126, 120),
  ],
  'fence': [
    (96, 66, 42),
    (228, 226, 220),
    (60, 84, 70),
    (170, 150, 130),
    (100, 100, 96),
  ],
  'behind': [(80, 120, 54), (140, 130, 110)],
  'facade': [
    (238, 214, 160),
    (226, 150, 100),
    (244, 236, 222),
    (196, 90, 70),
    (150, 190, 210),
    (240, 190, 170),
    (112, 132, 160),
    (214, 190, 120),
    (170, 164, 150),
    (140, 128, 116),
    (120, 100, 90),
  ],
  'window': [(50, 90, 130), (70, 130, 170), (36, 50, 74), (70, 80, 90)],
  'shop': [(180, 50, 40), (50, 110, 90), (60, 60, 80), (230, 200, 120)],
  'tiles': [(176, 84, 56), (110, 100, 100), (90, 110, 90)],
  'trunk': [(104, 74, 46), (140, 112, 80)],
  'leaves': [
    (72, 150, 40),
    (100, 168, 52),
    (52, 128, 48),
    (142, 170, 50),
    (70, 104, 48),
    (90, 120, 60),
  ],
  'pole': [(70, 78, 76), (44, 60, 54), (150, 146, 138)],
  'car': [
    (206, 24, 28),
    (240, 200, 30),
    (30, 90, 200),
    (240, 240, 240),
    (30, 30, 34),
    (40, 160, 90),
    (240, 120, 30),
    (150, 160, 172),
    (150, 152, 154),
    (90, 92, 96),
    (40, 44, 60),
  ],
  'bus': [(240, 240, 236), (236, 130, 30), (220, 40, 40), (200, 190, 150)],
  'stripe': [(220, 60, 40), (30, 100, 190), (250, 200, 40)],
  'cab': [(220, 50, 40), (40, 80, 170), (240, 240, 240), (230, 170, 40)],
  'cargo': [
    (240, 238, 232),
    (190, 200, 206),
    (230, 190, 80),
    (100, 150, 190),
    (150, 152, 154),
  ],
  'tram': [(40, 150, 120), (210, 50, 60), (50, 90, 180), (200, 190, 110)],
  'tram top': [(245, 240, 225)],
  'top': [
    (220, 40, 50),
    (40, 90, 200),
    (250, 230, 80),
    (245, 245, 245),
    (60, 60, 70),
    (130, 120, 110),
  ],
  'trousers': [(40, 60, 120), (200, 180, 140), (30, 30, 36), (120, 60, 60)],
  'helmet': [(230, 40, 40), (250, 210, 40), (40, 40, 44), (240, 240, 240)],
  'frame': [(220, 40, 40), (40, 120, 210), (60, 180, 90), (240, 200, 40)],
  'prop': [(40, 110, 60), (230, 120, 40), (170, 150, 130), (60, 90, 170)],
  'far': [(110, 140, 150), (150, 150, 140), (120, 130, 110)],
  'hood': [(150, 30, 30), (40, 60, 120), (230, 230, 230), (40, 40, 44)],
}

CITY = SHARED | {
  'road': [(104, 104, 104), (90, 92, 94), (116, 114, 112)],
  'line': [(206, 206, 202)],
  'centre': [(206, 206, 202)],
  'walk': [(136, 128, 122), (122, 120, 118), (146, 134, 126)],
  'parking': [(116, 110, 106), (128, 126, 122)],
  'ground': [(128, 122, 110), (112, 108, 102)],
  'grass': [(92, 116, 60), (108, 118, 72), (82, 104, 62)],
  'wall': [(120, 114, 106), (140, 128, 116), (104, 88, 80)],
  'fence': [(84, 82, 78), (66, 72, 70), (112, 104, 96)],
  'behind': [(66, 76, 56), (104, 102, 96)],
  'facade': [
    (176, 166, 146),
    (150, 142, 132),
    (128, 100, 84),
    (196, 190, 178),
    (140, 136, 122),
    (164, 146, 118),
    (110, 108, 108),
    (186, 150, 110),
    (150, 96, 78),
  ],
  'window': [(70, 76, 80), (92, 98, 100), (54, 58, 62)],
  'shop': [(84, 78, 74), (100, 60, 54), (60, 72, 84), (130, 122, 106)],
  'tiles': [(110, 74, 62), (84, 82, 82)],
  'trunk': [(66, 60, 52), (84, 78, 70)],
  'leaves': [(74, 100, 48), (88, 108, 60), (62, 88, 50), (100, 110, 54)],
  'pole': [(112, 114, 112), (92, 96, 96), (134, 134, 130)],
  'car': [
    (34, 36, 40),
    (150, 152, 154),
    (214, 214, 212),
    (86, 88, 92),
    (54, 64, 88),
    (112, 34, 36),
    (170, 168, 160),
  ],
  'bus': [(204, 186, 120), (190, 190, 186), (150, 60, 54)],
  'stripe': [(110, 110, 112), (70, 84, 112), (140, 120, 90)],
  'cab': [(190, 190, 188), (70, 90, 120), (130, 60, 52), (170, 150, 90)],
  'cargo': [(196, 194, 188), (150, 152, 152), (96, 112, 130)],
  'tram': [(196, 180, 96), (140, 50, 50), (110, 116, 122)],
  'tram top': [(206, 202, 190)],
  'top': [(44, 46, 54), (92, 92, 96), (120, 70, 64), (150, 146, 140)],
  'trousers': [(40, 46, 62), (58, 56, 56), (96, 88, 78)],
  'helmet': [(60, 60, 64), (190, 190, 188), (110, 50, 48)],
  'frame': [(70, 72, 76), (110, 54, 52), (60, 74, 92)],
  'prop': [(90, 88, 84), (120, 104, 60), (74, 84, 80)],
  'far': [(140, 146, 146), (120, 128, 124)],
  'hood': [(70, 72, 76)],
}


@dataclasses.dataclass(frozen=True)
class Look:
  """Palette, light and camera electronics of one picture; colours in 0..1."""

  palette: dict
  sun: tuple[float, float, float]  # unit vector towards the sun
  direct: float  # strength of its light on a surface that faces it
  ambient: float
  light: tuple[float, float, float]  # colour of the direct light
  shade: tuple[float, float, float]  # colour of the ambient light
  zenith: tuple[float, float, float]
  horizon: tuple[float, float, float]  # of the sky, and of the haze
  clouds: float
  haze: float  # per metre
  shadow: float  # how much of the direct light a shadow takes
  softness: float  # blur of the shadows, in picture widths
  texture: float  # strength of the surfaces' own pattern
  exposure: float
  contrast: float
  saturation: float
  cast: tuple[float, float, float]
  lift: float  # added to black by flare
  vignette: float
  blur: float  # sigma in picture widths
  noise: float  # standard deviation
  quality: int  # of the camera's JPEG, 0: none

  def color(self, rng: random.Random, kind: str, vary: float = 0.06) -> tuple:
    """Draw a colour of the palette; vary brightness and, a little, hue."""
    base = rng.choice(self.palette[kind])
    gain = 1 + rng.uniform(-2, 2) * vary
    r, g, b = base
    return (
      r / 255 * gain * (1 + rng.uniform(-vary, vary)),
      g / 255 * gain,
      b / 255 * gain * (1 + rng.uniform(-vary, vary)),
    )


def game(rng: random.Random) -> Look:
  """Draw the look of a game at noon, at a golden hour or under a veiled sky."""
  hour = rng.choices(('noon', 'golden', 'veil'), (4, 3, 3))[0]
  rise = rng.uniform(35, 65) if hour == 'noon' else rng.uniform(18, 35)
  golden, veil = hour == 'golden', hour == 'veil'
  return Look(
    palette=GAME,
    sun=_toward(rng.uniform(0, 360), rise),
    direct=rng.uniform(0.2, 0.4) if veil else rng.uniform(0.5, 0.75),
    ambient=rng.uniform(0.64, 0.76) if veil else rng.uniform(0.46, 0.6),
    light=(1.12, 0.98, 0.72) if golden else (1.04, 1.0, 0.93),
    shade=(0.88, 0.95, 1.15),
    zenith=(0.36, 0.46, 0.70) if golden else (0.20, 0.46, 0.86),
    horizon=(0.98, 0.80, 0.58) if golden else (0.70, 0.86, 0.97),
    clouds=rng.uniform(0.8, 1.1) if veil else rng.uniform(0.1, 0.6),
    haze=rng.uniform(0.0008, 0.003),
    shadow=0.5 if veil else 0.95,
    softness=0.0,
    texture=rng.uniform(0.7, 1.0),
    exposure=rng.uniform(0.8, 1.08),
    contrast=rng.uniform(0.95, 1.15),
    saturation=rng.uniform(0.9, 1.25),
    cast=(1.0, 1.0, 1.0),
    lift=0.0,
    vignette=0.0,
    blur=0.0,
    noise=0.0,
    quality=0,
  )


def city(rng: random.Random) -> Look:
  """Draw the look of an overcast day through windscreen and small sensor."""
  grey = rng.uniform(0.86, 1.0)
  return Look(
    palette=CITY,
    sun=_toward(rng.uniform(0, 360), rng.uniform(50, 80)),
    direct=rng.uniform(0.15, 0.35),
    ambient=rng.uniform(0.64, 0.78),
    light=(1.0, 1.0, 1.0),
    shade=(0.97, 1.0, 1.02),
    zenith=(0.74 * grey, 0.81 * grey, 0.90 * grey),
    horizon=(0.93 * grey, 0.94 * grey, 0.93 * grey),
    clouds=rng.uniform(0.0, 0.5),
    haze=rng.uniform(0.002, 0.006),
    shadow=0.9,
    softness=0.012,
    texture=rng.uniform(0.9, 1.3),
    exposure=rng.uniform(0.85, 1.12),
    contrast=rng.uniform(0.85, 1.02),
    saturation=rng.uniform(0.7, 1.0),
    cast=(rng.uniform(0.92, 1.0), 1.0, rng.uniform(0.88, 1.0)),
    lift=rng.uniform(0.0, 0.05),
    vignette=rng.uniform(0.05, 0.25),
    blur=rng.uniform(0.0014, 0.0028),
    noise=rng.uniform(0.008, 0.022),
    quality=rng.randint(45, 80),
  )


def _toward(azimuth, elevation):
  a, e = math.radians(azimuth), math.radians(elevation)
  return (math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e))
