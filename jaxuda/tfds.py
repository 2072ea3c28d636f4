"""Prepared datasets by their names in TensorFlow Datasets.

  import jaxuda.tfds
  import tensorflow_datasets as tfds

  ds, info = tfds.load('streets/game-96x192', split='val', with_info=True)
  source = tfds.data_source('gta5/720x1280', split='train', data_dir=DIR)
  info.features['label'].names  # of the ids in the labels

The name is that of the folder. What is prepared, TFDS opens by what lies there,
and reads as a data source without jaxuda, too. The import adds that it is read
as tf.data, and that a name is known before it is prepared: what is rendered is
rendered then, of the others the command is told that prepares them.

As tf.data TFDS decodes JPEG by the fast transform, a few levels beside the
accurate one of training and of data sources; `decoders={'image': ACCURATE}` is
that one.
"""

import functools
from collections.abc import Iterator

import tensorflow_datasets as tfds
from tensorflow_datasets.core import (
  dataset_builder,
  file_adapters,
  registered,
)

from jaxuda.datasets import images, prepare, specs
from jaxuda.utils.errors import UserError

_AT_A_TIME = 16  # records that are read


class _ArrayRecordFiles(file_adapters.ArrayRecordFileAdapter):
  """ArrayRecord files, which TFDS does not read as tf.data by itself."""

  SUPPORTS_TF_DATA = True

  @classmethod
  def make_tf_data(cls, filename, buffer_size=None):
    """Return the records of a file as a tf.data.Dataset of strings.

    Args:
      filename: its path.
      buffer_size: what TFDS would read at once; records are read in batches.
    """
    del buffer_size
    # Not by utils.tensorflow, which would take the GPU from other's code.
    import tensorflow as tf

    return tf.data.Dataset.from_generator(
      _records,
      output_signature=tf.TensorSpec((), tf.string),
      args=(filename,),
    )


def _records(filename: bytes) -> Iterator[bytes]:
  from array_record.python import array_record_module

  reader = array_record_module.ArrayRecordReader(filename.decode())
  try:
    count = reader.num_records()
    for start in range(0, count, _AT_A_TIME):
      yield from reader.read([*range(start, min(start + _AT_A_TIME, count))])
  finally:
    reader.close()


@tfds.decode.make_decoder()
def _accurate(stored, feature):
  import tensorflow as tf

  image = tf.io.decode_jpeg(stored, 3, dct_method='INTEGER_ACCURATE')
  return tf.ensure_shape(image, feature.shape)


ACCURATE = _accurate()


class _Names:
  """The datasets of data/, for TFDS to find; its own names come first."""

  def has_dataset(self, name: str) -> bool:
    return name in specs.datasets()

  def get_builder_cls(self, name: str) -> type:
    return _builder_class(name)


@functools.cache
def _builder_class(dataset):
  """Return the TFDS builder class of a dataset that is yet to be prepared."""
  module = specs.module(dataset)

  class Builder(dataset_builder.FileReaderBuilder, skip_registration=True):
    """A dataset by its config's name."""

    name = dataset
    VERSION = tfds.core.Version(module.VERSION)

    def __init__(self, *, file_format=None, **kwargs):
      super().__init__(file_format=file_format or 'array_record', **kwargs)

    def _create_builder_config(self, builder_config, version):
      del version  # there is one
      given = getattr(builder_config, 'name', builder_config) or ''
      self._asked = specs.split_config(dataset, given)
      return tfds.core.BuilderConfig(name=given, version=self.VERSION)

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        description=module.__doc__,
        homepage=module.HOMEPAGE,
        citation=module.CITATION,
      )

    def download_and_prepare(self, **_):
      """Prepare what needs no download.

      Raises:
        UserError: it needs one; the message has the command that prepares it.
      """
      spec, size, jpeg = self._asked
      root = str(self.data_dir_root)
      if module.NEEDS_RAW:
        command = specs.prepare_command(spec, size, root)
        flag = ' --jpeg' if jpeg else ''
        raise UserError(
          f'{dataset}/{self.builder_config_name} is not prepared in {root}: '
          f'run `{command}{flag}`.'
        )
      quality = images.DEFAULT_JPEG_QUALITY if jpeg else None
      prepare.prepare(spec, size=size, data_dir=root, jpeg=quality)
      self.info.read_from_directory(self.data_dir)

    def _download_and_prepare(self, dl_manager, download_config=None):
      raise NotImplementedError  # all of it is done above

  return Builder


registered.add_dataset_builder_provider(_Names())
file_adapters.ADAPTER_FOR_FORMAT[file_adapters.FileFormat.ARRAY_RECORD] = (
  _ArrayRecordFiles
)
