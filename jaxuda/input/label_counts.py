"""How many pixels of each class the labels have, counted once and kept."""

import contextlib
import functools
import os
import time

import numpy as np

from jaxuda import labels
from jaxuda.input import decode
from jaxuda.input.records import Records
from jaxuda.utils import console, files, lock
from jaxuda.utils.errors import UserError


def of_classes(records: Records, space: str) -> np.ndarray:
  """Return the pixels of each class in each label, at the prepared size.

  Args:
    records: a split with labels.
    space: class space.

  Returns:
    i64[N, C].

  Raises:
    UserError: a label cannot be decoded.
  """
  table = labels.id_map(records.encoding, space)
  classes = range(len(labels.space(space).classes))
  counts = of_ids(records)
  return np.stack([counts[:, table == c].sum(1) for c in classes], 1)


@functools.lru_cache(maxsize=4)
def of_ids(records: Records) -> np.ndarray:
  """Return the pixels of each raw id in each label of a split: i64[N, 256].

  All records are read the first time, which takes minutes for GTA5; from then
  on the file `label_counts-SPLIT.npz` in the dataset's folder has the result,
  for every class space. Of several processes that share the folder one reads
  them.

  Raises:
    UserError: a label cannot be decoded.
  """
  path = records.path / f'label_counts-{records.split}.npz'
  counts = _load(path, len(records))
  if counts is None:
    with _only_reader(path, records):
      counts = _load(path, len(records))  # by the one that was waited for
      if counts is None:
        counts = _read(records)
        _save(path, counts, records)
  return counts.astype(np.int64)


def _load(path, count):
  """i32[N, 256]; None where there is no such whole file."""
  try:
    with np.load(path) as file:
      counts = file['counts']
  except Exception:  # of zip, zlib and NumPy: any damage
    return None
  good = counts.dtype == np.int32 and counts.shape == (count, 256)
  return counts if good else None


def _only_reader(path, records):
  """Hold a lock where one can be made; a dataset may be read-only."""
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
  print(f'{title}: counting the classes of its {count:,} labels', flush=True)
  start = time.monotonic()
  found = decode.decoded(records, range(count), decode.id_decoder())
  counts = np.empty((count, 256), np.int32)
  with console.progress(title, count) as advance:
    for i, each in enumerate(found):
      counts[i] = each
      advance()
  print(f'{title}: {time.monotonic() - start:.0f} s', flush=True)
  return counts


def _save(path, counts, records):
  def write(file):
    with open(file, 'wb') as f:
      np.savez_compressed(f, counts=counts)

  try:
    files.write(path, write)
  except UserError as e:  # a full disk or a read-only one is no reason to stop
    print(f'{records.title}: the next start counts again: {e}', flush=True)
