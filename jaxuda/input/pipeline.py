"""tf.data pipelines over prepared records, for training and for evaluation."""

import functools
import itertools
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxuda.input import decode as decode_lib
from jaxuda.input import tfdata
from jaxuda.input.order import ClassBalanced, RareClass, shuffled_epochs
from jaxuda.input.records import Records
from jaxuda.input.stream import Stream, check_streams
from jaxuda.labels import IGNORE
from jaxuda.utils import tensorflow as tf_lib
from jaxuda.utils.errors import UserError


def train_batches(
  streams: dict[str, Stream],
  *,
  seed: int,
  first_step: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[dict[str, dict[str, np.ndarray]]]:
  """Read endless batches; that of step s depends on (seed, s, process) only.

  The batch of step s holds the examples at positions s*B .. (s+1)*B of the
  stream's shuffled epochs, or of its draws by classes, of which each process
  gets a contiguous slice. What is drawn for an example is a function of
  (seed, stream, position).

  Args:
    streams: e.g. {'source': ..., 'target': ...}.
    seed: of the order and of the augmentation, at least 0.
    first_step: the step whose batch comes first; costs nothing, or little where
      the sampling is class-balanced.
    process_index, process_count: which share of each batch this process gets.

  Returns:
    An iterator over {stream: {'image': u8[b, H, W, 3], 'label': u8[b, H, W]}},
    b = batch_size / process_count; 'label' only where the stream has a space,
    'soft', u8[b, H, W, C], where its labels are soft, and 'valid', u8[b, H, W],
    0 in margins, where it has such.

  Raises:
    UserError: at once, where a stream lacks labels, its crop does not fit or
      its batch cannot be divided; while iterating, for an example that
      cannot be read, naming it.
  """
  check_streams(streams, process_count)
  tf = tf_lib.import_tensorflow()
  readers = {
    name: _Reader(name, stream, seed, process_index, process_count)
    for name, stream in streams.items()
  }
  datasets = {k: r.dataset(tf, first_step) for k, r in readers.items()}
  dataset = tf.data.Dataset.zip(datasets).with_options(tfdata.options(tf))
  return _train(tf, dataset, readers, first_step)


def _train(tf, dataset, readers, first_step):
  batches = tfdata.elements(dataset)
  for step in itertools.count(first_step):
    try:
      batch = next(batches)
    except tf.errors.OpError:
      for reader in readers.values():
        reader.explain(step)
      raise
    yield batch


class _Reader:
  """Read one stream's share of this process."""

  def __init__(self, name, stream, seed, process_index, process_count):
    self.name = name
    self.stream = stream
    self.seed = seed
    self.share = stream.batch_size // process_count
    self.offset = process_index * self.share
    self.decode = decode_lib.decoder(stream.records, stream.space)
    self.chosen = stream.chosen
    self.order = _order(name, stream, seed)
    self.rare = stream.rare if stream.sampling == 'rare_class' else None

  def dataset(self, tf, first_step):
    """Return the batches from `first_step` on, as tf.data."""

    def read(step):
      positions, indices, classes = self.positions(step)
      records = self.stream.records.read(indices)
      # An object array: NumPy's own bytes would lose trailing zeros.
      return np.array(records, object), positions, classes

    def read_share(step):
      each = tf.numpy_function(read, [step], [tf.string, tf.int64, tf.int64])
      for column in each:
        column.set_shape([self.share])
      return each

    return (
      tf.data.Dataset.range(first_step, np.iinfo(np.int64).max)
      .map(read_share)
      .unbatch()
      .map(self.example, tfdata.workers(), deterministic=True)
      .batch(self.share, drop_remainder=True)
    )

  def positions(self, step):
    """Return places in the endless order, their examples, and classes.

    Each is i64[share]; a class is what an example was drawn for, or -1.
    """
    start = int(step) * self.stream.batch_size + self.offset
    positions = np.arange(start, start + self.share)
    drawn = self.order(start, self.share)
    indices, classes = drawn if self.rare else (drawn, np.full(self.share, -1))
    return positions, self.chosen[indices], classes

  def example(self, record, position, drawn_for):
    """Decode and augment one example."""
    tf = tf_lib.import_tensorflow()
    # 31 bits of the user's seed, 32 of the stream's name.
    key = (self.seed % 2**31) << 32 | zlib.crc32(self.name.encode())
    decoded = self.decode(record)
    image = decoded['image']
    maps = {k: decoded[k] for k in ('label', 'soft') if k in decoded}
    if any(self.stream.margins):
      maps['valid'] = _inside(tf, image, self.stream.margins)
    # What belongs to the pixels moves together, as channels of one label.
    deep = [m if len(m.shape) == 3 else m[..., None] for m in maps.values()]
    wanted = None
    if self.rare:
      wanted = drawn_for, self.rare.pixels * self.rare.crop_share
    image, moved = self.stream.augment(
      image, tf.concat(deep, -1) if deep else None, (key, position), wanted
    )
    found = {'image': image}
    if deep:
      parts = tf.split(moved, [m.shape[-1] for m in deep], -1)
      for name, part in zip(maps, parts, strict=True):
        found[name] = part if name == 'soft' else part[..., 0]
    if 'valid' in found:  # what a crop was padded with is not
      found['valid'] = tf.cast(found['valid'] == 1, tf.uint8)
    return found

  def explain(self, step):
    """Raise UserError if what this stream reads at `step` is at fault."""
    sizes = set()
    for position, index, drawn in zip(*self.positions(step), strict=True):

      def use(record, position=position, drawn=drawn):
        example = self.example(record, position, drawn)
        sizes.add(tuple(example['image'].shape[:2]))

      error = decode_lib.explain(self.stream.records, index, use)
      if error:
        raise error
    if len(sizes) > 1:
      raise UserError(
        f'{self.name}: the images of {self.stream.records.name} differ in '
        f'size ({", ".join(f"{h}x{w}" for h, w in sorted(sizes))}) and cannot '
        'be batched; set a crop, or prepare them at one size'
      )


def batch_names(
  streams: dict[str, Stream], seed: int, step: int
) -> dict[str, list[str]]:
  """Return the names of the images in the batch of a step, of all processes."""
  found = {}
  for name, stream in streams.items():
    _, indices, _ = _Reader(name, stream, seed, 0, 1).positions(step)
    found[name] = [stream.records.parse(i)['id'].decode() for i in indices]
  return found


def _inside(tf, image, margins):
  """Return 1 where a pixel counts and 0 in margins, u8[H, W]."""
  top, bottom, left, right = margins
  size = tf.shape(image)
  inner = tf.ones([size[0] - top - bottom, size[1] - left - right], tf.uint8)
  return tf.pad(inner, [[top, bottom], [left, right]])


def _order(name, stream, seed):
  """Return (start, count) -> which of the chosen examples come there.

  Where they are drawn for rare classes, also for which.
  """
  if stream.sampling == 'class_balanced':
    return ClassBalanced(stream.class_counts > 0, seed, name)
  if stream.sampling == 'rare_class':
    return RareClass(stream.class_counts, stream.rare, seed, name)
  length = len(stream.chosen)
  if stream.shuffle:
    return functools.partial(shuffled_epochs, length, seed, name)
  return lambda start, count: np.arange(start, start + count) % length


def eval_batches(
  records: Records,
  *,
  space: str,
  batch_size: int,
  scored_in: str | None = None,
  process_index: int = 0,
  process_count: int = 1,
  count: int | None = None,
) -> Iterator[dict[str, Any]]:
  """Read every example of a split once, in batches of `batch_size` rows each.

  Examples are grouped by the sizes of image and label, so that each batch has
  one size; the last batches of a group are filled up with rows that are not
  valid. All processes get equally many batches, and batch k has images of one
  size in all of them.

  Args:
    records: the split.
    space: class space of the labels.
    batch_size: rows in a batch of this process.
    scored_in: see labels.id_map.
    process_index, process_count: this process gets examples p, p + P, ... of
      each group.
    count: read so many examples alone, spread evenly over the split.

  Returns:
    An iterator over {'image': u8[b, H, W, 3], 'label': u8[b, Hf, Wf], 'id':
    list of b names, 'valid': bool[b]}. Labels are at their own full size where
    the split has them. Rows that are not valid are black, labelled 255 and
    have the name ''.

  Raises:
    UserError: at once, where the split has no labels or a header cannot be
      read; while iterating, for an example that cannot be decoded, naming it.
  """
  records.require_labels()
  if count is None or count >= len(records):
    sizes = dict(enumerate(records.all_sizes))
  else:
    chosen = records.spread(count)
    sizes = dict(zip(chosen, records.sizes(chosen), strict=True))
  plan = _plan(sizes, batch_size, process_index, process_count)
  decode = decode_lib.decoder(records, space, True, scored_in)
  indices = [index for _, batch in plan for index in batch]
  decoded = decode_lib.decoded(records, indices, decode)
  return _evaluate(decoded, plan, batch_size)


def _evaluate(decoded, plan, batch_size):
  for (image_size, label_size), indices in plan:
    batch = {
      'image': np.zeros((batch_size, *image_size, 3), np.uint8),
      'label': np.full((batch_size, *label_size), IGNORE, np.uint8),
      'id': [''] * batch_size,
      'valid': np.arange(batch_size) < len(indices),
    }
    for row, example in enumerate(itertools.islice(decoded, len(indices))):
      batch['image'][row] = example['image']
      batch['label'][row] = example['label']
      batch['id'][row] = example['id'].decode()
    yield batch


def _plan(sizes, batch_size, process_index, process_count):
  """Return the (sizes, indices) of this process's batches, in order."""
  plan = []
  for group in sorted(set(sizes.values())):
    members = [i for i, size in sizes.items() if size == group]
    share = members[process_index::process_count]
    largest = -(-len(members) // process_count)  # of all processes' shares
    for start in range(0, largest, batch_size):
      plan.append((group, share[start : start + batch_size]))
  return plan
