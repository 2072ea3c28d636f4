"""What training reads of one dataset, whether that can be read, its classes."""

import contextlib
import dataclasses
import functools
import os
import time

import numpy as np

from jaxuda import labels
from jaxuda.input import decode
from jaxuda.input.augment import Augment
from jaxuda.input.order import shuffled_epochs
from jaxuda.input.records import Records
from jaxuda.utils import console, files, lock
from jaxuda.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Stream:
  """One of the streams of examples that training reads side by side.

  Attributes:
    records: the prepared split.
    space: class space of the labels; None: the batch holds no label.
    batch_size: examples a step, of all processes together.
    augment: what is done to each example.
    shuffle: whether each epoch has its own order, or that of the records.
    count: how many of the records it has, always the same; None for all.
    sampling: 'uniform', every example once an epoch; or 'class_balanced', see
      order.ClassBalanced.
  """

  records: Records
  space: str | None
  batch_size: int
  augment: Augment = Augment()  # noqa: RUF009  frozen
  shuffle: bool = True
  count: int | None = None
  sampling: str = 'uniform'

  @property
  def chosen(self) -> np.ndarray:
    """The records that it has, i64[count]; fewer are the first of more."""
    everything = len(self.records)
    if self.count is None:
      return np.arange(everything)
    return shuffled_epochs(everything, 0, 'count', 0, self.count)

  @property
  def present(self) -> np.ndarray:
    """The classes in the label of each chosen record: bool[count, C]."""
    return present_classes(self.records, self.space)[self.chosen]


def check_streams(streams: dict[str, Stream], process_count: int = 1) -> None:
  """Raise the errors that `train_batches` would raise at once."""
  for name, stream in streams.items():
    key = f'config.{name}'
    if stream.space is not None:
      stream.records.require_labels()
    most = len(stream.records)
    if stream.count is not None and not 1 <= stream.count <= most:
      raise UserError(
        f'{key}.count={stream.count} must be 1 to {most}, or None: '
        f'{stream.records.title}.'
      )
    stream.augment.check(key)
    if stream.records.size is not None:
      stream.augment.check_size(stream.records.size, f'{key}.')
    if stream.batch_size % process_count:
      raise UserError(
        f'{key}.batch_size={stream.batch_size} cannot be divided evenly among '
        f'{process_count} processes.'
      )
    _check_sampling(name, key, stream)


def _check_sampling(name, key, stream):
  if stream.sampling == 'uniform':
    return
  given = f'{key}.sampling={stream.sampling!r}'
  if stream.space is None:
    raise UserError(
      f'{given} needs labels, and the {name} has none: set {key}.labels, or '
      f'{key}.sampling=uniform.'
    )
  if not stream.shuffle:
    raise UserError(
      f'{given} has an order of its own: leave out {key}.shuffle=False, or set '
      f'{key}.sampling=uniform.'
    )
  if not stream.present.any():
    raise UserError(
      f'{given}: no image of {stream.records.title}, has a class of '
      f'{stream.space}; set {key}.sampling=uniform.'
    )


def present_classes(records: Records, space: str) -> np.ndarray:
  """Return which classes each label has, at the size at which it is prepared.

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
  """Return which raw ids each label of a split has: bool[N, 256].

  All records are read the first time, which takes minutes for GTA5; from then
  on the file `label_ids-SPLIT.npy` in the dataset's folder has the result, for
  every class space. Of several processes that share the folder one reads them.

  Raises:
    UserError: a label cannot be decoded.
  """
  path = records.path / f'label_ids-{records.split}.npy'
  ids = _load_ids(path, len(records))
  if ids is None:
    with _only_reader(path, records):
      ids = _load_ids(path, len(records))  # by the one that was waited for
      if ids is None:
        ids = _read_ids(records)
        _save_ids(path, ids, records)
  return np.unpackbits(ids, axis=1).astype(bool)


def _load_ids(path, count):
  """u8[N, 32], eight ids a byte; None where there is no such whole file."""
  try:
    ids = np.load(path)
  except (OSError, ValueError, EOFError):
    return None
  good = ids.dtype == np.uint8 and ids.shape == (count, 32)
  return ids if good else None


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


def _read_ids(records):
  title, count = records.title, len(records)
  print(f'{title}: finding the classes of its {count:,} labels', flush=True)
  start = time.monotonic()
  found = decode.decoded(records, range(count), decode.id_decoder())
  ids = np.empty((count, 32), np.uint8)
  with console.progress(title, count) as advance:
    for i, there in enumerate(found):
      ids[i] = np.packbits(there)
      advance()
  print(f'{title}: {time.monotonic() - start:.0f} s', flush=True)
  return ids


def _save_ids(path, ids, records):
  def write(file):
    with open(file, 'wb') as f:
      np.save(f, ids)

  try:
    files.write(path, write)
  except UserError as e:  # a full disk or a read-only one is no reason to stop
    print(f'{records.title}: the next start looks again: {e}', flush=True)
