"""A disk that is full at any write of a training, and then has room again."""

import contextlib
import os
import pathlib
import random
import subprocess
from collections.abc import Iterator

from benchmarks.faults import process, subjects
from benchmarks.faults.subjects import Tried
from jaxuda.utils.errors import UserError

PROMISE = 'a sentence; with room again it ends as if there had been, to the bit'

METHOD = 'cbst'  # which writes prepared data, checkpoints and pseudo labels
BYTES = 48 * 2**20  # of the disk


def tries(
  place: pathlib.Path, rng: random.Random, count: int
) -> Iterator[Tried]:
  """Train on a disk that fills up at a random moment, then make room.

  Args:
    place: a folder with data.
    rng: of how much is free at first.
    count: trainings.

  Raises:
    UserError: no small disk can be mounted, which takes root.
  """
  words = subjects.training(METHOD, 'disk/run', 'data_dir=disk/data')
  for _ in range(2):  # the first one compiles
    with small_disk(place / 'disk') as disk:
      ended = process.run(place, *words)
      subjects.refuse_failed(METHOD, ended)
      expected, largest = subjects.end_state(disk / 'run'), _size(disk)
  for _ in range(count):
    free = rng.randrange(int(1.3 * largest))
    with small_disk(place / 'disk') as disk:
      filler = fill(disk, BYTES - free)
      ended = process.run(place, *words)
      fault, note = process.fault(ended), f'status {ended.status}'
      if not fault:
        filler.unlink()
        after = process.run(place, *words)
        fault = subjects.fault_at_end(after, expected, disk / 'run')
    yield Tried(f'{free / 2**20:.2f} MiB free', fault, note, ended.seconds)


@contextlib.contextmanager
def small_disk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Mount a disk of BYTES in a folder, while the context lasts.

  Raises:
    UserError: none can be mounted, which takes root.
  """
  folder.mkdir(exist_ok=True)
  mount = ('mount', '-t', 'tmpfs', '-o', f'size={BYTES}', 'tmpfs', str(folder))
  done = subprocess.run(mount, capture_output=True, text=True)
  if done.returncode:
    raise UserError(f'no small disk can be mounted ({done.stderr.strip()}).')
  try:
    yield folder
  finally:
    subprocess.run(('umount', str(folder)), check=True)


def fill(disk: pathlib.Path, size: int) -> pathlib.Path:
  """Put a file of a size onto a disk, or of what is free; return its path."""
  filler = disk / 'filler'
  status = os.statvfs(disk)
  size = min(size, status.f_bavail * status.f_frsize)
  with open(filler, 'wb') as file:
    if size:
      os.posix_fallocate(file.fileno(), 0, size)
  return filler


def _size(folder):
  return sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())
