"""Serialized examples to pixels: in tf.data, and eagerly to explain errors.

A `..._decoder` makes a function of one record; `decoded` and `label_batches`
apply one to chosen examples of a split, one after the other.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxuda import labels
from jaxuda.datasets.features import NOTHING
from jaxuda.input import tfdata
from jaxuda.input.records import Records
from jaxuda.utils import tensorflow as tf_lib
from jaxuda.utils.errors import UserError

FEATURES = ('image', 'label', 'label_full', 'id', 'soft')
# Bit depth and colour type in a PNG's header: 8 bits, grey. Other kinds would
# decode to wrong ids without any error.
PNG_KIND_AT, GREY_PNG = 24, b'\x08\x00'


def decoder(
  records: Records,
  space: str | None,
  full: bool = False,
  scored_in: str | None = None,
) -> Callable[[Any], dict[str, Any]]:
  """Return a function that decodes one example of `records`.

  Args:
    records: where the examples come from.
    space: class space of the labels; None for no label.
    full: take the label at its own full size, where there is one.
    scored_in: see labels.id_map.

  Returns:
    A function: scalar string tensor -> {'image': u8[H, W, 3], 'label':
    u8[h, w] of class indices (255: ignored), 'id': string} of tensors; no
    'label' without a space, and 'soft', u8[H, W, C], where there are soft
    labels. It raises tf.errors.InvalidArgumentError for an example that cannot
    be decoded.
  """
  tf = tf_lib.import_tensorflow()
  features = _features(tf, FEATURES)
  table = None
  if space is not None:
    table = labels.id_map(records.encoding, space, scored_in).tobytes()

  def decode(record):
    example = tf.io.parse_single_example(record, features)
    image = _image(tf, example['image'], records)
    decoded = {'image': image, 'id': example['id']}
    if table is not None:
      stored = example['label']
      if full:
        has_full = _is_there(tf, example['label_full'])
        stored = tf.where(has_full, example['label_full'], stored)
      ids = _label(tf, stored)
      if not full:  # else it may have a size of its own
        tf.debugging.assert_equal(
          tf.shape(ids), tf.shape(image)[:2], 'image and label differ in size'
        )
      decoded['label'] = _translate(tf, ids, table)
      if records.soft:
        maps = _label(tf, example['soft'])
        height, width = tf.unstack(tf.shape(image)[:2])
        shares = tf.reshape(maps, [records.soft, height, width])
        decoded['soft'] = tf.ensure_shape(
          tf.transpose(shares, [1, 2, 0]), (*image.shape[:2], records.soft)
        )
    return decoded

  return decode


def label_decoder(records: Records, space: str) -> Callable[[Any], Any]:
  """Return a function that decodes the label of one example, not its image.

  Args:
    records: where the examples come from.
    space: class space of the labels.

  Returns:
    A function: scalar string tensor -> u8[H, W] of class indices (255:
    ignored). It raises the same errors as that of `decoder`.
  """
  tf = tf_lib.import_tensorflow()
  table = labels.id_map(records.encoding, space).tobytes()

  def decode(record):
    example = tf.io.parse_single_example(record, _features(tf, ['label']))
    ids = _translate(tf, _label(tf, example['label']), table)
    return tf.ensure_shape(ids, records.size or (None, None))

  return decode


def id_decoder() -> Callable[[Any], Any]:
  """Return a function that counts the raw ids in the label of one example.

  Returns:
    A function: scalar string tensor -> i32[256], the pixels of each id. It
    raises the same errors as that of `decoder`.
  """
  tf = tf_lib.import_tensorflow()
  features = _features(tf, ['label'])

  def decode(record):
    stored = tf.io.parse_single_example(record, features)['label']
    ids = tf.cast(_label(tf, stored), tf.int32)
    return tf.math.bincount(ids, minlength=256, maxlength=256)

  return decode


def decoded(
  records: Records, indices: Sequence[int], decode: Callable[[Any], Any]
) -> Iterator[Any]:
  """Decode examples in a given order, several at a time.

  Args:
    records: the split.
    indices: positions of the examples.
    decode: made by one of the decoders above.

  Returns:
    An iterator over the results of `decode`, as NumPy arrays. It raises
    UserError for an example that cannot be decoded, naming it.
  """
  tf = tf_lib.import_tensorflow()

  def read(index):
    return records.read([index])[0]

  dataset = (
    tf.data.Dataset.from_tensor_slices(np.array(indices, np.int64))
    .map(lambda i: tf.ensure_shape(tf.numpy_function(read, [i], tf.string), []))
    .map(decode, tfdata.workers(), deterministic=True)
    .with_options(tfdata.options(tf))
  )
  return _iterate(tf, dataset, records, indices, decode)


def _iterate(tf, dataset, records, indices, decode):
  elements = tfdata.elements(dataset)
  for index in indices:
    try:
      element = next(elements)
    except tf.errors.OpError as e:
      raise explain(records, index, decode) or e from None
    yield element


def label_batches(
  records: Records,
  *,
  space: str,
  indices: Sequence[int],
  batch_size: int,
) -> Iterator[np.ndarray]:
  """Decode label maps without their images, in a fraction of the time.

  Args:
    records: the split.
    space: class space of the labels.
    indices: positions of the examples, in the order in which they come.
    batch_size: maps in a batch; the last batch may have fewer.

  Returns:
    An iterator over u8[b, H, W] of class indices, 255 where ignored.

  Raises:
    UserError: at once, where the split has no labels, or where maps that were
      not prepared at one size would be batched; while iterating, for an
      example that cannot be decoded, naming it.
  """
  records.require_labels()
  if records.size is None and batch_size > 1:
    raise UserError(
      f'{records.name} is prepared at the sizes of its files, which cannot be '
      f'batched ({records.path}): prepare it at one size.'
    )
  maps = decoded(records, indices, label_decoder(records, space))
  return _stacked(maps, batch_size)


def _stacked(maps, batch_size):
  while batch := list(itertools.islice(maps, batch_size)):
    yield np.stack(batch)


def explain(
  records: Records, index: int, use: Callable[[Any], Any]
) -> UserError | None:
  """Return the reason why an example cannot be used; None if it can.

  Args:
    records: where the example is.
    index: its position.
    use: what was done with it, a function of the record that works eagerly.
  """
  tf = tf_lib.import_tensorflow()
  try:
    use(tf.constant(records.read([index])[0]))
  except UserError as e:  # a damaged file, or a crop that does not fit
    return e
  except tf.errors.OpError as e:
    return records.broken(index, f'cannot be used ({_reason(e)})')
  return None


def _features(tf, names):
  return {k: tf.io.FixedLenFeature([], tf.string, '') for k in names}


def _image(tf, stored, records):
  if records.jpeg:
    # The default leaves the algorithm, and so the pixels, to the platform.
    image = tf.io.decode_jpeg(stored, 3, dct_method='INTEGER_ACCURATE')
  else:
    image = tf.io.decode_png(stored, 3)
  return tf.ensure_shape(image, (*(records.size or (None, None)), 3))


def _is_there(tf, stored):
  """Whether a label is neither left out nor what stands in its place."""
  return tf.reduce_all(stored != tf.constant([b'', NOTHING]))


def _label(tf, stored):
  there = _is_there(tf, stored)
  tf.debugging.assert_equal(there, True, 'it has no label')
  kind = tf.strings.substr(stored, PNG_KIND_AT, len(GREY_PNG))
  grey = tf.equal(kind, GREY_PNG)
  tf.debugging.assert_equal(grey, True, 'its label is not an 8-bit grey PNG')
  return tf.io.decode_png(stored, 1)[..., 0]


def _translate(tf, ids, table):
  """Each id's class; bytes.translate takes a tenth of the time of tf.gather."""

  def translate(array):
    mapped = array.tobytes().translate(table)
    return np.frombuffer(mapped, np.uint8).reshape(array.shape)

  return tf.ensure_shape(
    tf.numpy_function(translate, [ids], tf.uint8, stateful=False), ids.shape
  )


def _reason(error):
  """Return a TensorFlow error's first sentence, without names of ops."""
  text = re.sub(r'\{\{.*?\}\}|\[Op:.*', '', error.message)
  return ' '.join(text.split('\n')[0].split()).rstrip('.') or str(error.code)
