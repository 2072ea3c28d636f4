"""What a record holds, and what TFDS is told of it, so that it decodes it.

A record is a tf.train.Example of bytes: `image` (RGB, PNG or JPEG), `label`
(8-bit grey PNG of raw dataset ids, the image's size), `label_full` (the same at
the label's own size; in val, test and tune only) and `id`. Pseudo labels also
have `confidence`, the probability of the predicted class in 255ths (8-bit grey
PNG, also where the label is ignored), and `soft` (8-bit grey PNG of the
classes' shares, one map below the other; where labels are soft).
"""

import zlib
from collections.abc import Collection, Mapping
from typing import Any

from jaxuda import labels
from jaxuda.utils import tensorflow as tf_lib

FEATURES = ('image', 'label', 'label_full', 'id')
PSEUDO = ('confidence', 'soft')
# What a split has not that another one of its dataset has: TFDS decodes every
# feature of every record. A PNG of one pixel, 255, and a comment that tells it
# from every other label, 'no label'.
NOTHING = bytes.fromhex(
  '89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b'
  '550000001074455874436f6d6d656e74006e6f206c6162656c30040f10000000'
  '0d494441547801010200fdff00ff01010100608712b50000000049454e44ae42'
  '6082'
)


def parse(record: bytes) -> dict[str, bytes]:
  """Return a record's features; b'' for what it does not have.

  Of those that pseudo labels have, only what is there.

  Raises:
    google.protobuf.message.DecodeError: it is no record.
  """
  tf = tf_lib.import_tensorflow()
  found = tf.train.Example.FromString(record).features.feature
  keys = (*FEATURES, *(key for key in PSEUDO if key in found))
  stored = {key: b''.join(found[key].bytes_list.value) for key in keys}
  return {k: b'' if v == NOTHING else v for k, v in stored.items()}


def complete(
  example: Mapping[str, bytes], described: Collection[str]
) -> dict[str, bytes]:
  """Return what is stored of an example: all that TFDS is told of."""
  return {key: example.get(key) or NOTHING for key in described}


def checksum(example: Mapping[str, bytes]) -> int:
  """Return the CRC-32 of a record's features, in order."""
  value = 0
  for key in (*FEATURES, *PSEUDO):
    value = zlib.crc32(example.get(key, b''), value)
  return value


def described(
  metadata: Mapping[str, Any],
  splits: Collection[str],
  has: Mapping[str, Collection[str]],
) -> Any:
  """Return the tfds.features.FeaturesDict of a dataset.

  Args:
    metadata: of `builder.write`: the encoding, which names the labels' ids, the
      size and whether images are JPEG.
    splits: all of the dataset.
    has: a feature beyond `image` and `id` to the splits that have it.
  """
  tfds = tf_lib.import_tfds().features
  names = list(labels.id_names(metadata['encoding']))
  height, width = metadata['size'] or (None, None)
  grey = {'encoding_format': 'png'}
  found = {
    'image': tfds.Image(
      shape=(height, width, 3),
      encoding_format='jpeg' if metadata['jpeg'] else 'png',
    ),
    'id': tfds.Text(),
  }
  everywhere = set(splits) == set(has.get('label', ()))
  size = (height, width, 1) if everywhere else (None, None, 1)
  maps = {
    'label': tfds.LabeledImage(labels=names, shape=size, **grey),
    'label_full': tfds.LabeledImage(labels=names, **grey),
    'confidence': tfds.Image(shape=(height, width, 1), **grey),
    'soft': tfds.Image(shape=(None, width, 1), **grey),
  }
  found |= {key: maps[key] for key in maps if has.get(key)}
  return tfds.FeaturesDict(found)
