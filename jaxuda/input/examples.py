"""Chosen examples of a split, one after the other; label maps alone."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxuda.input import decode as decode_lib
from jaxuda.input import tfdata
from jaxuda.input.records import Records
from jaxuda.utils import tensorflow as tf_lib
from jaxuda.utils.errors import UserError


def decoded(
  records: Records, indices: Sequence[int], decode: Callable[[Any], Any]
) -> Iterator[Any]:
  """Decodes examples in a given order, several at a time.

  Args:
    records: the split.
    indices: positions of the examples.
    decode: of decode.decoder or decode.label_decoder.

  Returns:
    An iterator over what `decode` answers, as NumPy arrays. It raises
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
      raise decode_lib.explain(records, index, decode) or e from None
    yield element


def label_batches(
  records: Records,
  *,
  space: str,
  indices: Sequence[int],
  batch_size: int,
) -> Iterator[np.ndarray]:
  """Label maps without their images, which takes a fraction of the time.

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
  decode = decode_lib.label_decoder(records, space)
  return _stacked(decoded(records, indices, decode), batch_size)


def _stacked(maps, batch_size):
  while batch := list(itertools.islice(maps, batch_size)):
    yield np.stack(batch)
