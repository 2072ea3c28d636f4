"""What training reads of one dataset, and whether that can be read."""

import dataclasses

import numpy as np

from jaxuda.input import classes, sampling
from jaxuda.input.augment import Augment
from jaxuda.input.order import order
from jaxuda.input.records import Records
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
      sampling.ClassBalanced.
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
    return order(everything, 0, 'count', 0, self.count)

  @property
  def present(self) -> np.ndarray:
    """Which classes the label of each of them has: bool[count, C]."""
    return classes.present(self.records, self.space)[self.chosen]


def check_streams(
  streams: dict[str, Stream], seed: int, process_count: int = 1
) -> None:
  """Raises what `train_batches` would raise at once."""
  if seed < 0:
    raise UserError(f'seed must be at least 0, not {seed}')
  for name, stream in streams.items():
    if stream.space is not None:
      stream.records.require_labels()
    most = len(stream.records)
    if stream.count is not None and not 1 <= stream.count <= most:
      raise UserError(
        f'{name}.count={stream.count} must be 1 to {most}, or None: '
        f'{stream.records.title}.'
      )
    if stream.records.size is not None:
      stream.augment.check_size(stream.records.size)
    if stream.batch_size < 1 or stream.batch_size % process_count:
      raise UserError(
        f'{name}.batch_size={stream.batch_size} cannot be shared out evenly to '
        f'{process_count} processes'
      )
    _check_sampling(name, stream)


def _check_sampling(name, stream):
  given = f'{name}.sampling={stream.sampling!r}'
  if stream.sampling not in sampling.SAMPLINGS:
    raise UserError(f'{given} is none of {", ".join(sampling.SAMPLINGS)}.')
  if stream.sampling == 'uniform':
    return
  if stream.space is None:
    raise UserError(
      f'{given} needs labels, and the {name} has none: set {name}.labels, or '
      f'{name}.sampling=uniform.'
    )
  if not stream.shuffle:
    raise UserError(
      f'{given} has an order of its own: leave out {name}.shuffle=False, or set '
      f'{name}.sampling=uniform.'
    )
  if not stream.present.any():
    raise UserError(
      f'{given}: no image of {stream.records.title}, has a class of '
      f'{stream.space}; set {name}.sampling=uniform.'
    )
