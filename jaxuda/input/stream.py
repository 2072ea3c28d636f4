"""What training reads of one dataset, whether that can be read, its classes."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from jaxuda.input import decode, label_counts
from jaxuda.input.augment import Augment
from jaxuda.input.order import RareClassSettings, shuffled_epochs
from jaxuda.input.records import Records
from jaxuda.utils.errors import UserError


# eq=False: as of Records, and an array is no key.
@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
  """One of the streams of examples that training reads side by side.

  Attributes:
    records: the prepared split.
    space: class space of the labels; None: the batch holds no label.
    batch_size: examples a step, of all processes together.
    augment: what is done to each example.
    shuffle: whether each epoch has its own order, or that of the records.
    part: which of the records it has, i64[n]; None for all.
    count: how many of these it has, always the same; None for all.
    sampling: 'uniform', every example once an epoch; 'class_balanced', see
      order.ClassBalanced; or 'rare_class', see order.RareClass.
    rare: the settings of the last one.
    margins: rows at the top and bottom, columns left and right of the images
      that do not count.
  """

  records: Records
  space: str | None
  batch_size: int
  augment: Augment = Augment()  # noqa: RUF009  frozen
  shuffle: bool = True
  part: np.ndarray | None = None
  count: int | None = None
  sampling: str = 'uniform'
  rare: RareClassSettings = RareClassSettings()  # noqa: RUF009  frozen
  margins: tuple[int, ...] = (0, 0, 0, 0)

  @property
  def chosen(self) -> np.ndarray:
    """The records that it has, i64[count]; fewer are the first of more."""
    everything = self.part
    if everything is None:
      everything = np.arange(len(self.records))
    if self.count is None:
      return everything
    chosen = shuffled_epochs(len(everything), 0, 'count', 0, self.count)
    return everything[chosen]

  def shapes(self) -> dict[str, tuple[int, ...]] | None:
    """Return the shapes of the u8 arrays in a batch of all processes.

    None where the images keep their own sizes: only reading them tells.
    """
    size = self.augment.crop if any(self.augment.crop) else self.records.size
    if size is None:
      return None
    names = ['image']
    names += ['label'] if self.space else []
    names += ['soft'] if self.space and self.records.soft else []
    names += ['valid'] if any(self.margins) else []
    channels = {'image': (3,), 'soft': (self.records.soft,)}
    return {
      name: (self.batch_size, *size, *channels.get(name, ())) for name in names
    }

  @property
  def class_counts(self) -> np.ndarray:
    """How many pixels of each class each chosen record has: i64[count, C]."""
    counts = label_counts.of_classes(self.records, self.space)
    return counts[self.chosen]

  def label_maps(self, count: int) -> Iterator[np.ndarray]:
    """Iterate over so many of its labels at most, spread over all of them.

    Yields:
      u8[H, W] of class indices, 255 where ignored, at the prepared size.
    """
    places = np.linspace(0, len(self.chosen) - 1, min(count, len(self.chosen)))
    indices = self.chosen[places.astype(int)].tolist()
    to_map = decode.label_decoder(self.records, self.space)
    return decode.decoded(self.records, indices, to_map)


def check_streams(streams: dict[str, Stream], process_count: int = 1) -> None:
  """Raise the errors that `train_batches` would raise at once."""
  for name, stream in streams.items():
    key = f'config.{name}'
    if stream.space is not None:
      stream.records.require_labels()
    most = len(stream.records if stream.part is None else stream.part)
    if not most:
      raise UserError(
        f'{key}.by_entropy.easy_share leaves nothing of {stream.records.title}.'
      )
    if stream.count is not None and not 1 <= stream.count <= most:
      raise UserError(
        f'{key}.count={stream.count} must be 1 to {most}, or None: '
        f'{stream.records.title}.'
      )
    stream.augment.check(key)
    if stream.records.size is not None:
      stream.augment.check_size(stream.records.size, f'{key}.')
      _check_margins(key, stream)
    if stream.batch_size % process_count:
      raise UserError(
        f'{key}.batch_size={stream.batch_size} cannot be divided evenly among '
        f'{process_count} processes.'
      )
    _check_sampling(name, key, stream)


def _check_margins(key, stream):
  height, width = stream.records.size
  top, bottom, left, right = stream.margins
  if top + bottom >= height or left + right >= width:
    raise UserError(
      f'{key}.margins={stream.margins} leave nothing of the images, '
      f'{height}x{width}.'
    )


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
  counts = stream.class_counts
  least = stream.rare.pixels if stream.sampling == 'rare_class' else 0
  if not (counts > least).any():
    raise UserError(
      f'{given}: no image of {stream.records.title}, has more than {least} '
      f'pixels of a class of {stream.space}; set {key}.sampling=uniform'
      f'{f", or a lower {key}.rare_class.pixels" if least else ""}.'
    )
