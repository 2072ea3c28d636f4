"""Two of the same at once, and a shared disk that renames and locks badly."""

import pathlib
import random
import time
from collections.abc import Iterator

from benchmarks.faults import process, subjects
from benchmarks.faults.subjects import Tried
from jaxuda.utils import files

PROMISE = 'one does it, the other waits or is refused; nothing is lost'

METHOD = 'dacs'
_PREPARE = ('prepare', 'city.toml', '--size=40x80', '--data_dir=new/data')
_PSEUDO = ('pseudo_label', '--workdir=runs/run', '--output=new/labels')
# A Python file that is read by each process before all others: what a shared
# disk does now and then.
_BAD_DISK = """
import errno, fcntl, os, random
_rng = random.Random({seed})
def _failing(call, error):
  def failing(*args, **kwargs):
    if _rng.random() < {share}:
      raise OSError(error, os.strerror(error))
    return call(*args, **kwargs)
  return failing
os.rename = _failing(os.rename, errno.ESTALE)
os.replace = _failing(os.replace, errno.EIO)
fcntl.flock = _failing(fcntl.flock, errno.ENOLCK)
"""


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Start two of a command, or one on a bad disk.

  Args:
    place: a folder with data.
    rng: of the moments and of what fails.
    count: tries in all.
  """
  train = subjects.training(METHOD, 'new/run')
  commands = {'train': train, 'prepare': _PREPARE, 'pseudo_label': _PSEUDO}
  subjects.straight(place, METHOD, 'runs/run')
  expected = {}
  for name, words in commands.items():
    files.remove(place / 'new')
    subjects.refuse_failed(name, process.run(place, *words))
    expected[name] = _made(place, name)
  for turn in range(count):
    name = [*commands][turn % len(commands)]
    files.remove(place / 'new')
    harm = (_two, _bad_disk)[turn // len(commands) % 2]
    began = time.monotonic()
    what, fault, said = harm(place, rng, commands[name])
    if not fault:
      after = process.run(place, *commands[name])
      if 'is there already' not in after.err:
        fault = process.fault(after, statuses=(0,))
    if not fault:
      differing = subjects.difference(expected[name], _made(place, name))
      # Of what such a disk does not take, a log may be told to lack rows.
      told = 'has lost' in after.out or 'cannot write' in said
      fault = differing and not told and f'makes other {differing}'
    if not fault and (left := subjects.half_written(place)):
      fault = f'leaves {", ".join(left)}'
    seconds = time.monotonic() - began
    yield Tried(f'{name}, {what}', fault, harm.__name__.strip('_'), seconds)


def _made(place, name):
  if name == 'train':
    return subjects.end_state(place / 'new/run')
  # Among them the checksums of all records, whose files differ each time.
  return subjects.content(place / 'new', '**/*.json')


def _two(place, rng, words):
  """Start two; return what was done, what is wrong, and what was said."""
  first = process.Child(place, *words)
  after = rng.uniform(0, 4)
  time.sleep(after)
  second = process.Child(place, *words)
  both = [child.end() for child in (first, second)]
  fault = ''.join(map(process.fault, both))
  if not fault and all(ended.status for ended in both):
    fault = 'neither does it'
  return f'two, the second {after:.1f} s later', fault, ''


def _bad_disk(place, rng, words):
  """Run one on a bad disk; return as `_two`."""
  seed, share = rng.randrange(10**6), rng.choice((0.02, 0.1, 0.5))
  folder = place / 'bad_disk'
  folder.mkdir(exist_ok=True)
  code = _BAD_DISK.format(seed=seed, share=share)
  (folder / 'sitecustomize.py').write_text(code)
  path = f'{folder}:{process.ROOT}'
  ended = process.run(place, *words, PYTHONPATH=path)
  what = f'{share:.0%} of renames and locks fail'
  return what, process.fault(ended), ended.out + ended.err
