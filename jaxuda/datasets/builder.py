"""The TFDS builder of each dataset, and what goes into a record.

features.py says what a record holds. Next to the records lies `crc32.json`:
split -> one checksum for each record. Of a user's own classes their table lies
there, too.
"""

import contextlib
import dataclasses
import json
import logging
import pathlib
import shlex
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from jaxuda.datasets import check, features, files, images, own, specs
from jaxuda.labels import tables
from jaxuda.utils import tensorflow as tf_lib

CHECKSUMS = 'crc32.json'
_KEYS = 1 << 128  # TFDS sorts by 128-bit keys


@dataclasses.dataclass(frozen=True)
class Task:
  """One example to be read, resized and encoded, as a worker gets it."""

  name: str
  variant: str
  split: str
  size: specs.Size
  jpeg: int | None  # quality
  labelled: bool
  allow_ignored: bool
  command: str  # prepares the dataset; for messages
  example: files.Example


def record(task: Task) -> tuple[dict[str, bytes], list[files.Problem]]:
  """Read or render one example and encode its record.

  Returns:
    The features of the record, and warnings about its files.

  Raises:
    Problem: the first thing that is wrong with its files.
  """
  module = specs.module(task.name)
  warnings = []
  if module.NEEDS_RAW:
    loaded = check.load(task.name, task.variant, task.example, task.labelled)
    allowed = (check.ALL_IGNORED,) if task.allow_ignored else ()
    error = loaded.error(allowed)
    if error:
      raise _with_remedy(error, task)
    image, label, warnings = loaded
  else:
    image, label = module.render_example(task.example.id, task.size)
  evaluated = task.split in specs.EVALUATION_SPLITS and label is not None
  label_full = images.encode_label(label) if evaluated else b''
  image = images.resize_image(image, task.size)
  if label is not None:
    # At full size a label of another size than its image takes the image's.
    size = task.size or (image.height, image.width)
    label = images.resize_label(label, size)
  example = {
    'image': images.encode_image(image, task.jpeg),
    'label': b'' if label is None else images.encode_label(label),
    'label_full': label_full,
    # A name that is no UTF-8 has bytes that only the file system knows.
    'id': task.example.id.encode(errors='backslashreplace'),
  }
  return example, warnings


def _with_remedy(error, task):
  """Name the command that allows it, or that finds all files of its kind."""
  text = error.text
  if error.kind == check.ALL_IGNORED:
    text = f'{text} `{task.command} --allow_ignored` keeps such files.'
  elif own.is_own(task.name):
    command = f'python -m data.verify {shlex.quote(task.name)}'
    text = f'{text} Mend it or move it away; `{command}` lists all such files.'
  return files.Problem(error.kind, error.path, text)


def write(
  spec: str,
  size: specs.Size,
  data_dir: pathlib.Path,
  jpeg: int | None,
  counts: dict[str, int],
  has: Mapping[str, Collection[str]],
  generate: Callable[[str], Iterator[dict[str, bytes]]],
  metadata: Mapping[str, Any],
) -> pathlib.Path:
  """Write a dataset as ArrayRecord files in a TFDS folder.

  It is renamed at its end; an exception from `generate` leaves nothing.

  Args:
    spec: NAME or NAME/VARIANT.
    size: of the images, or None for the raw size.
    data_dir: root of the prepared datasets.
    jpeg: quality, or None for PNG.
    counts: split -> number of examples.
    has: a feature beyond `image` and `id` to the splits that have it.
    generate: split -> its records, in order.
    metadata: what is noted beside the size and the form of the images: of raw
      files `left_out`, those without a partner, and `allow_missing`, whether
      they may have been missing; of own data the `fingerprint` of its files; of
      pseudo labels their `encoding`, how they were made, `pseudo`, and of how
      many classes soft ones are, `soft`.

  Returns:
    The folder of the dataset.
  """
  tfds = tf_lib.import_tfds()
  name, variant = specs.split_spec(spec)
  metadata = {
    'encoding': specs.module(name).ENCODING,
    'size': list(size) if size else None,
    'jpeg': jpeg is not None,
    'quality': jpeg,
    **metadata,
  }
  described = features.described(metadata, counts, has)
  table = None
  if tables.is_file(metadata['encoding']):  # of which records keep a copy
    table = pathlib.Path(metadata['encoding'])
    metadata['encoding'] = table.name
  config = tfds.core.BuilderConfig(
    name=specs.config_name(variant, size, jpeg is not None),
    version=specs.module(name).VERSION,
  )
  return _prepared(
    _builder_class(name),
    *(metadata, described, counts, generate, table),
    data_dir=str(data_dir),
    config=config,
  )


def _prepared(builder_class, *args, **kwargs):
  """Have a builder write its dataset; return the folder."""
  # TFDS warns of a config that is no class constant, and wants a download
  # folder although nothing is downloaded.
  with _quiet('absl'), tempfile.TemporaryDirectory() as downloads:
    builder = builder_class(*args, **kwargs)
    builder.download_and_prepare(
      download_dir=downloads, file_format='array_record'
    )
  return pathlib.Path(builder.data_dir)


@contextlib.contextmanager
def _quiet(logger):
  log = logging.getLogger(logger)
  before = log.level
  log.setLevel(logging.ERROR)
  try:
    yield
  finally:
    log.setLevel(before)


def _builder_class(dataset):
  """Return the TFDS builder class of a dataset."""
  tfds = tf_lib.import_tfds()
  module = specs.module(dataset)

  class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Records of one dataset, in the order of their ids."""

    name = specs.tfds_name(dataset)

    def __init__(self, metadata, described, counts, generate, table, **kwargs):
      self._own_metadata = metadata
      self._described = described
      self._table = table
      self._counts = counts
      self._generate = generate
      self._checksums = {}
      super().__init__(**kwargs)

    def _info(self):
      labelled = 'label' in self._described
      return tfds.core.DatasetInfo(
        builder=self,
        description=module.__doc__,
        homepage=module.HOMEPAGE,
        citation=module.CITATION,
        features=self._described,
        supervised_keys=('image', 'label') if labelled else None,
        metadata=tfds.core.MetadataDict(self._own_metadata),
        disable_shuffling=True,
      )

    def _log_download_bytes(self):
      pass  # prepare.py prints what happens

    def _log_download_done(self):
      pass

    def _split_generators(self, dl_manager):
      del dl_manager  # nothing is downloaded
      return {split: self._generate_examples(split) for split in self._counts}

    def _generate_examples(self, split):
      sums = self._checksums.setdefault(split, [])
      for i, example in enumerate(self._generate(split)):
        sums.append(features.checksum(example))
        stored = features.complete(example, self._described)
        # TFDS sorts large splits in buckets by the key's leading bits: keys
        # that fill the range keep the order and every bucket small.
        yield i * _KEYS // self._counts[split], stored
      folder = pathlib.Path(self.data_dir)
      (folder / CHECKSUMS).write_text(json.dumps(self._checksums))
      if self._table:
        shutil.copyfile(self._table, folder / self._table.name)

  title = f'{specs.tfds_name(dataset).capitalize()}Builder'
  Builder.__name__ = Builder.__qualname__ = title
  return Builder
