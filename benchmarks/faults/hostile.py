"""Files of strangers: images, archives, weights, run folders and names."""

import json
import os
import pathlib
import pickle
import random
import shutil
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from benchmarks.faults import process, subjects
from benchmarks.faults.subjects import Tried
from jaxuda.utils import files

PROMISE = 'nothing is executed; bounded time and memory; a sentence'

METHOD = 'dacs'
CANARY = 'executed'  # a file that hostile code would make
_TIMEOUT_S = 60


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Hand hostile files to the commands that read such files.

  Args:
    place: a folder with data.
    rng: of what is hostile.
    count: tries in all.
  """
  subjects.train(place, METHOD, 'runs/run')
  kinds = (_image, _weights, _run_folder)
  for turn in range(count):
    files.remove(place / 'hostile')
    (place / 'hostile').mkdir()
    what, words = kinds[turn % len(kinds)](place, rng)
    ended = process.run(place, *words, timeout_s=_TIMEOUT_S)
    # verify ends with 1 where it has found something.
    may = (0, 1) if words[0] == 'verify' else (0, 2)
    fault = process.fault(ended, may)
    if (place / CANARY).exists():
      fault = 'executes code of a file'
    note = f'status {ended.status}'
    yield Tried(f'{words[0]}, {what}', fault, note, ended.seconds)


def _image(place, rng):
  """Write an image or a name that is none; return what, and a command."""
  folder = place / 'hostile/photos'
  folder.mkdir()
  shutil.copy(place / 'city/val/0.jpg', folder / 'good.jpg')
  name, make = rng.choice([*_IMAGES.items()])
  make(folder, rng)
  toml = 'encoding = "cityscapes"\n[splits.train]\nimages = "photos"\n'
  (place / 'hostile/mine.toml').write_text(toml)
  words = rng.choice(
    (
      ['predict', '--workdir=runs/run', '--images=hostile/photos',
       '--output=hostile/out'],
      ['verify', 'hostile/mine.toml'],
      ['prepare', 'hostile/mine.toml', '--size=32x64',
       '--data_dir=hostile/data'],
    )
  )  # fmt: skip
  return name, words


def _png(width, height, data, depth=8, color=2):
  """Return a PNG whose header and pixels need not fit."""

  def chunk(kind, content):
    checksum = struct.pack('>I', zlib.crc32(kind + content))
    return struct.pack('>I', len(content)) + kind + content + checksum

  header = struct.pack('>IIBBBBB', width, height, depth, color, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(data, 9))
    + chunk(b'IEND', b'')
  )


def _flipped(folder, rng):
  data = bytearray((folder / 'good.jpg').read_bytes())
  for _ in range(rng.choice((1, 20))):
    data[rng.randrange(len(data))] = rng.randrange(256)
  (folder / 'flipped.jpg').write_bytes(data)


def _animation(folder, rng):
  frames = [
    Image.new('RGB', (60, 40), (rng.randrange(256), 0, 0)) for _ in range(9)
  ]
  frames[0].save(folder / 'a.gif', save_all=True, append_images=frames[1:])


def _named(name):
  def make(folder, rng):
    shutil.copy(folder / 'good.jpg', os.path.join(os.fsencode(folder), name))

  return make


def _written(name, make):
  return lambda folder, rng: (folder / name).write_bytes(make(rng))


_IMAGES = {
  'a bomb of 7 GiB': _written(
    'a.png', lambda _: _png(49152, 49152, bytes(10**7), depth=1, color=0)
  ),
  'a bomb below the limit': _written(
    'a.png', lambda _: _png(22000, 22000, bytes(10**6), depth=1, color=0)
  ),
  'a header alone': _written('a.png', lambda _: _png(100, 100, b'')),
  'a pixel': _written('a.png', lambda _: _png(1, 1, bytes(4))),
  'no pixel': _written('a.png', lambda _: _png(0, 100, b'')),
  'noise': _written('a.jpg', lambda rng: rng.randbytes(5000)),
  'nothing': _written('a.png', lambda _: b''),
  'flipped bytes': _flipped,
  'an animation': _animation,
  'a pipe': lambda folder, _: os.mkfifo(folder / 'a.png'),
  'a device': lambda folder, _: (folder / 'a.png').symlink_to('/dev/zero'),
  'a link to itself': lambda folder, _: (folder / 'a.png').symlink_to('a.png'),
  'a link out of the tree': lambda folder, _: (folder / 'a').symlink_to('/etc'),
  'a folder named like an image': lambda folder, _: (folder / 'a.png').mkdir(),
  'a name that is no UTF-8': _named(b'\xff\xfe.jpg'),
  'a name that colours': _named(b'a\x1b[31m.jpg'),
  'a name of two lines': _named(b'a\nerror: b.jpg'),
  'a name like a member of an archive': _named(b'x.zip::b.jpg'),
  'a long name': _named(b'a' * 250 + b'.jpg'),
}


def _weights(place, rng):
  """Write weights that are none; return what, and a command."""
  path = place / 'hostile' / rng.choice(('w.pth', 'w.safetensors', 'w.bin'))
  name, make = rng.choice([*_WEIGHTS.items()])
  path.write_bytes(make(place, rng))
  words = rng.choice(
    (
      ['weights', 'inspect', str(path)],
      [*subjects.training(METHOD, 'hostile/run'), f'--config.init={path}'],
    )
  )
  return name, words


class _Code:
  """What is pickled as a call of the system."""

  def __init__(self, command):
    self._command = command

  def __reduce__(self):
    return os.system, (self._command,)


def _pickled(protocol):
  def make(place, rng):
    del rng
    content = {'state_dict': _Code(f'touch {place / CANARY}')}
    return pickle.dumps(content, protocol)

  return make


def _repeated(part, times, before=b'', after=b''):
  return lambda place, rng: before + part * times + after + b'.'


_WEIGHTS = {
  **{f'code, protocol {n}': _pickled(n) for n in range(6)},
  'a million lists': _repeated(b']', 10**6),
  'a deep list': _repeated(b'(l', 10**5, after=b'a' * 10**5),
  'a list doubled 60 times': _repeated(
    b'h\x00h\x00\x86q\x00', 60, before=b'\x80\x02N\x85q\x00'
  ),
  'a long text': lambda place, rng: b'\x8d' + struct.pack('<Q', 2**62) + b'a.',
  'a large number': lambda place, rng: (
    b'\x8b' + struct.pack('<i', 2**30) + b'a.'
  ),
  'a large safetensors header': lambda place, rng: struct.pack('<Q', 2**62),
  'a safetensors header of braces': (
    lambda place, rng: struct.pack('<Q', 10**6) + b'{"a":' * 200_000
  ),
  'noise': lambda place, rng: rng.randbytes(10_000),
  'an archive that says little': lambda place, rng: b'PK\x05\x06' + bytes(18),
}


def _run_folder(place, rng):
  """Change a value of a run's file by hand; return what, and a command."""
  folder = place / 'hostile/run'
  shutil.copytree(place / 'runs/run', folder)
  name = rng.choice(('config.json', 'scores.json', 'sessions.json'))
  content = json.loads((folder / name).read_text())
  content.pop('crc32', None)
  node, path = content, []
  while isinstance(node, dict | list) and node:
    key = rng.choice([*node] if isinstance(node, dict) else range(len(node)))
    path.append(key)
    above, node = node, node[key]
    if rng.random() < 0.1:
      break
  value = rng.choice(_VALUES)
  above[path[-1]] = value
  (folder / name).write_text(json.dumps(content))
  words = rng.choice(
    (
      ['predict', '--workdir=hostile/run', '--images=city/val',
       '--output=hostile/out'],
      ['report', 'hostile/run', '--output=hostile/report.html'],
      ['evaluate', '--workdir=hostile/run'],
      ['compare', 'hostile/run', 'runs/run', '--output=hostile/compared'],
    )
  )  # fmt: skip
  where = '.'.join(map(str, path))
  return f'{name}: {where} is {str(value)[:40]!r}', words


_VALUES = (
  *(None, True, -1, 0, 10**7, 2**70, 1e308, -1e-308, [], {}, ''),
  *([10**7, 10**7], [-1, 0], '../../../etc/passwd', '\x1b[31m', 'a' * 10**6),
  *('__class__', [[[]]], {'a': {'a': {}}}, float(np.pi)),
)
