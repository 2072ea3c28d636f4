"""Which classes each label of a split has: read once, then kept beside it."""

import contextlib
import functools
import os
import pathlib
import time

import numpy as np

from jaxuda import labels
from jaxuda.input import decode, examples
from jaxuda.input.records import Records
from jaxuda.utils import console, files, lock
from jaxuda.utils.errors import UserError


def present(records: Records, space: str) -> np.ndarray:
  """Which classes each label has, at the size at which it is prepared.

  Args:
    records: a split with labels.
    space: class space.

  Returns:
    bool[N, C].

  Raises:
    UserError: a label cannot be decoded.
  """
  table = labels.id_map(records.encoding, space)
  classes = range(len(labels.space(space).classes))
  ids = label_ids(records)
  return np.stack([ids[:, table == c].any(1) for c in classes], 1)


@functools.lru_cache(maxsize=4)
def label_ids(records: Records) -> np.ndarray:
  """Which raw ids each label of a split has: bool[N, 256].

  All records are read the first time, which takes minutes for GTA5; the file
  `label_ids-SPLIT.npy` in the dataset's folder then has the answer, for every
  class space. One process of several that share the folder reads them.

  Raises:
    UserError: a label cannot be decoded.
  """
  path = records.path / f'label_ids-{records.split}.npy'
  ids = _load(path, len(records))
  if ids is None:
    with _alone(path, records):
      ids = _load(path, len(records))  # by the one that was waited for
      if ids is None:
        ids = _read(records)
        _keep(path, ids, records)
  return np.unpackbits(ids, axis=1).astype(bool)


def _load(path, count):
  """u8[N, 32], eight ids a byte; None where there is no such whole file."""
  try:
    ids = np.load(path)
  except (OSError, ValueError, EOFError):
    return None
  good = ids.dtype == np.uint8 and ids.shape == (count, 32)
  return ids if good else None


def _alone(path, records):
  """Holds a lock where one can be made; a dataset may be read-only."""
  if not os.access(path.parent, os.W_OK):
    return contextlib.nullcontext()
  waiting = (
    f'{records.title}: waiting for another process that reads its labels'
  )
  return lock.hold(
    path.with_name(f'.{path.name}.lock'), lambda: print(waiting, flush=True)
  )


def _read(records):
  title, count = records.title, len(records)
  print(f'{title}: looking which classes its {count:,} labels have', flush=True)
  start = time.monotonic()
  found = examples.decoded(records, range(count), decode.id_decoder())
  ids = np.empty((count, 32), np.uint8)
  with console.progress(title, count) as advance:
    for i, there in enumerate(found):
      ids[i] = np.packbits(there)
      advance()
  print(f'{title}: {time.monotonic() - start:.0f} s', flush=True)
  return ids


def _keep(path: pathlib.Path, ids, records):
  def write(file):
    with open(file, 'wb') as f:
      np.save(f, ids)

  try:
    files.write(path, write)
  except UserError as e:  # a full disk or a read-only one is no reason to stop
    print(f'{records.title}: the next start looks again: {e}', flush=True)
