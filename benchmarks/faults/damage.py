"""Files of a run and of prepared data that a disk, or a hand, has damaged."""

import os
import pathlib
import random
import re
import shutil
from collections.abc import Callable, Iterator

from benchmarks.faults import process, subjects
from benchmarks.faults.subjects import Tried
from jaxuda.utils import files

PROMISE = 'a damaged file is told, or makes no difference; no traceback'

METHOD = 'cbst'  # which has stages, and makes pseudo labels
_TOLD = re.compile(
  'damaged|has lost|left out|ignored|counts again|note:|error:'
)


class _Reader:
  """A command that reads files, and what it makes of whole ones.

  Attributes:
    words: of the command.
    result: a function of the place: what is compared of what it makes.
    made: what it makes, relative to the place, and what is removed before.
    expected: what it makes of whole files.
    said: the lines that it prints then, which tell nothing of damage.
  """

  def __init__(self, words: list[str], made: str, result: Callable):
    """Make a reader; it has read nothing yet."""
    self.words, self.made, self.result = words, made, result
    self.expected, self.said = None, frozenset()

  def __call__(self, place: pathlib.Path) -> tuple[process.Ended, object]:
    """Run the command; return how it ended, and what it has made."""
    files.remove(place / self.made)
    cache = str(place / 'cache')  # of compiled programs
    ended = process.run(place, *self.words, XDG_CACHE_HOME=cache)
    return ended, self.result(place / self.made) if ended.status == 0 else None


def _readers() -> dict[str, _Reader]:
  photos = ('--images=city/val', '--size=32x64')
  predict = ['predict', '--workdir=runs/run', '--output=out', *photos]
  return {
    'predict': _Reader([*predict, '--ids_only'], 'out', subjects.content),
    'report': _Reader(
      ['report', 'runs/run', '--output=out/report.html'],
      'out',
      subjects.content,
    ),
    'evaluate': _Reader(
      ['evaluate', '--workdir=runs/run'],
      'runs/run/evaluation',
      lambda folder: subjects.content(folder, '*/scores.json'),
    ),
    'train': _Reader(
      subjects.training(METHOD, 'runs/half'),
      'nothing',
      lambda path: subjects.end_state(path.parent / 'runs/half'),
    ),
  }


# Which command reads what, by patterns of files.
_READS = {
  'predict': (
    'runs/run/config.json',
    'runs/run/checkpoints/12/**',
    'cache/**/jit_segment*',
  ),
  'report': (
    'runs/run/config.json',
    'runs/run/scores.json',
    'runs/run/start_scores.json',
    'runs/run/sessions.json',
    'runs/run/metrics.csv',
    'runs/run/unlabelled/*',
  ),
  'evaluate': (
    'runs/run/config.json',
    'runs/run/checkpoints/12/**',
    'data/city/**',
  ),
  'train': (
    'runs/half/config.json',
    'runs/half/metrics.csv',
    'runs/half/checkpoints/**',
    'runs/half/sessions.json',
    'runs/half/unlabelled/*',
    'runs/half/.lock',
    'runs/source_only*/checkpoints/**',
    'runs/source_only*/pseudo_labels/**',
    'runs/source_only*/*.json',
    'data/game/**',
  ),
}


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Damage a file, and let a command read it; then put it back.

  Args:
    place: a folder with data.
    rng: of the files and the damages.
    count: damages in all.
  """
  readers = _readers()
  whole = _prepare(place, readers)
  for reader in readers.values():
    ended, reader.expected = reader(place)
    subjects.refuse_failed(reader.words[0], ended)
    reader.said = _lines(ended)
    _put_back(place, whole)
  for _ in range(count):
    name = rng.choice([*readers])
    files = sorted(
      path
      for pattern in _READS[name]
      for path in place.glob(pattern)
      if path.is_file()
    )
    file, harm = rng.choice(files), rng.choice(_HARMS)
    harm(file, rng)
    ended, found = readers[name](place)
    what = f'{name}, {file.relative_to(place)}: {harm.__name__.strip("_")}'
    yield Tried(what, *_judge(ended, found, readers[name]), ended.seconds)
    _put_back(place, whole)


def _judge(ended, found, reader):
  """Return what is wrong, and how it ended."""
  if wrong := process.fault(ended):
    return wrong, 'failed'
  if ended.status == 2:
    return '', 'refused'
  if found == reader.expected:
    return '', 'no difference'
  if any(map(_TOLD.search, _lines(ended) - reader.said)):
    return '', 'told'
  return 'makes a difference, and is not told', 'silent'


def _lines(ended):
  return frozenset((ended.out + ended.err).splitlines())


def _prepare(place, readers):
  """Train a run, and the first half of one; return a copy of all there is.

  With a cache of what the commands compile.
  """
  whole = place.with_name(f'{place.name}-whole')
  if not whole.exists():
    subjects.train(place, METHOD, 'runs/run')
    half = place / 'runs/half'
    shutil.copytree(place / 'runs/run', half)
    # As a kill leaves it behind the ninth step.
    for name in ('checkpoints/12', 'scores.json', 'report.html', 'figures'):
      files.remove(half / name)
    (half / '.lock').write_text('1 on a host')
    shutil.copytree(place, whole, symlinks=True)
    for reader in readers.values():
      reader(place)
    shutil.copytree(place / 'cache', whole / 'cache')
    _put_back(place, whole)
  return whole


def _put_back(place, whole):
  files.remove(place)
  shutil.copytree(whole, place, symlinks=True)


def _flipped_bit(file, rng):
  data = bytearray(file.read_bytes())
  if data:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
  file.write_bytes(data)


def _cut(file, rng):
  os.truncate(file, rng.randrange(max(1, file.stat().st_size)))


def _emptied(file, rng):
  os.truncate(file, 0)


def _zeros(file, rng):
  data = bytearray(file.read_bytes())
  start = rng.randrange(max(1, len(data)))
  end = min(len(data), start + 512)
  data[start:end] = bytes(end - start)
  file.write_bytes(data)


def _noise(file, rng):
  file.write_bytes(rng.randbytes(file.stat().st_size or 100))


def _appended(file, rng):
  file.write_bytes(file.read_bytes() + rng.randbytes(100))


def _gone(file, rng):
  file.unlink()


def _folder(file, rng):
  file.unlink()
  file.mkdir()


_HARMS = (
  *(_flipped_bit,) * 4,
  *(_cut,) * 2,
  *(_emptied, _zeros, _noise, _appended, _gone, _folder),
)
