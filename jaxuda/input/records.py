"""Prepared datasets, read by position."""

import dataclasses
import functools
import io
import itertools
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import PIL.Image

from jaxuda import labels
from jaxuda.datasets import features, prepare, specs, stored
from jaxuda.labels import tables
from jaxuda.utils import tensorflow as tf_lib
from jaxuda.utils.errors import UserError


# eq=False: two openings of one split are two objects, each with its own cache.
@dataclasses.dataclass(frozen=True, eq=False)
class Records:
  """One split of a prepared dataset: serialized examples by position.

  Attributes:
    name: the dataset, NAME or NAME/VARIANT.
    split: the split's name.
    path: the folder of the prepared dataset.
    encoding: which ids its labels hold (`labels.id_map`).
    size: (H, W) of every image, or None where the images kept their own sizes.
    jpeg: whether images are stored as JPEG; labels are always PNG.
    files: the ArrayRecord files, in order.
    lengths: the number of examples in each of them.
    soft: how many classes its soft labels have; 0 where it has none.
  """

  name: str
  split: str
  path: pathlib.Path
  encoding: str
  size: tuple[int, int] | None
  jpeg: bool
  files: tuple[str, ...]
  lengths: tuple[int, ...]
  soft: int = 0

  def __len__(self) -> int:
    return sum(self.lengths)

  @property
  def title(self) -> str:
    """The split as messages name it: 'streets/city, train, at 96x192'."""
    return _title(self.name, self.split, self.size)

  def read(self, indices: Iterable[int]) -> list[bytes]:
    """Return serialized examples.

    Raises:
      UserError: a file is damaged; names it.
    """
    records = []
    for index in indices:
      try:
        records.append(self._source[index])
      except RuntimeError as e:  # what array_record raises for a broken file
        raise self._damaged(self.files[self._file(index)], e) from e
    return records

  def parse(self, index: int) -> dict[str, bytes]:
    """Return one example's features, as datasets/features.py has them."""
    from google.protobuf import message

    [record] = self.read([index])
    try:
      return features.parse(record)
    except message.DecodeError:
      raise self.broken(index, 'is not a tf.train.Example') from None

  @functools.cached_property
  def labelled(self) -> bool:
    """Whether the split has labels: its examples all do, or none does."""
    return bool(self.parse(0)['label'])

  def require_labels(self) -> None:
    """Raise UserError if the split has no labels."""
    if not self.labelled:
      raise UserError(
        f'{self.name}, split {self.split!r}, has no labels, '
        f'but they are needed here ({self.path}).'
      )

  def sizes(
    self, indices: Iterable[int]
  ) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return (H, W) of the image and of the full label of some examples.

    Only headers are decoded, but the whole records are read.
    """
    sizes = []
    for index in indices:
      example = self.parse(index)
      label = example['label_full'] or example['label']
      try:
        sizes.append((_image_size(example['image']), _image_size(label)))
      except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as e:
        raise self.broken(index, f'cannot be used ({e})') from e
    return sizes

  @functools.cached_property
  def all_sizes(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The `sizes` of all examples, read once."""
    return self.sizes(range(len(self)))

  def spread(self, count: int) -> list[int]:
    """Return positions of `count` examples, spread evenly over the split."""
    return np.linspace(0, len(self) - 1, count).astype(int).tolist()

  def broken(self, index: int, reason: str) -> UserError:
    """Return the error for an example that cannot be used, naming it."""
    try:
      name = f' ({self.parse(index)["id"].decode()})'
    except (UserError, UnicodeDecodeError):
      name = ''
    return UserError(
      f'{self.name}, split {self.split!r}: example {index}{name} '
      f'of {self.files[self._file(index)]} {reason}; {self._remedy}'
    )

  @functools.cached_property
  def _source(self) -> Any:
    # Imported late: array_record adds its own flags to every command line.
    from array_record.python import array_record_data_source

    open_files = array_record_data_source.ArrayRecordDataSource
    try:
      source = open_files(self.files)
    except RuntimeError:
      for file in self.files:  # which of them is it?
        try:
          open_files([file])
        except RuntimeError as e:
          raise self._damaged(file, e) from e
      raise
    if len(source) != len(self):
      raise self._damaged(
        self.path, f'{len(source)} examples where {len(self)} were prepared'
      )
    return source

  def _file(self, index):
    ends = itertools.accumulate(self.lengths)
    return next(i for i, end in enumerate(ends) if index < end)

  def _damaged(self, path, reason):
    reason = str(reason) or 'it cannot be read to its end'
    return UserError(f'{path} is damaged: {reason}; {self._remedy}')

  @property
  def _remedy(self):
    return _remedy(self.name, self.size, self.path)


def open_records(
  spec: str,
  size: tuple[int, int] | None,
  split: str,
  data_dir: str | pathlib.Path | None = None,
  resumed: bool = False,
) -> Records:
  """Open one split of a dataset.

  It was prepared before, or is now where that needs no download: streets, and
  data of one's own.

  Args:
    spec: NAME or NAME/VARIANT.
    size: (H, W) that the images were resized to, or None for 'full'.
    split: name of the split.
    data_dir: where prepared datasets are; None for TFDS's default.
    resumed: whether a run goes on; see prepare.ensure.

  Raises:
    UserError: the dataset is not prepared, has no such split, has no examples
      in it, or is damaged.
  """
  path = prepare.ensure(spec, size, data_dir, resumed)
  return _open(spec, size, split, pathlib.Path(path))


def open_pseudo_labels(
  folder: str | pathlib.Path,
  spec: str,
  size: tuple[int, int] | None,
  split: str,
  space: str,
) -> Records:
  """Open images with the labels that jaxuda.pseudo_label has given them.

  Args:
    folder: the one that it has written.
    spec, size, split: the dataset that the labels must be of.
    space: class space in which they are read; soft ones can only be read in
      their own.

  Raises:
    UserError: there are no such labels, they are of other images or classes, or
      they are damaged.
  """
  folder = pathlib.Path(folder)
  made = specs.is_prepared(folder) and stored.metadata(folder).get('pseudo')
  if not made:
    raise UserError(
      f'{folder} holds no pseudo labels; `python -m jaxuda.pseudo_label '
      f'--workdir=RUN --output={folder}` makes them.'
    )
  wanted = _title(spec, split, size)
  if made['of'] != wanted:
    raise UserError(f'{folder} has labels of {made["of"]}, not of {wanted}.')
  records = _open(spec, size, split, folder)
  if records.soft:
    _check_classes(records, made['classes'], space)
  return records


def _check_classes(records, given, space):
  """Refuse soft labels of other classes."""
  if tables.is_file(given):  # of which there is a copy
    given = records.encoding
  theirs, ours = (labels.space(name).identity for name in (given, space))
  if theirs != ours:
    raise UserError(
      f'{records.path} has soft labels of {theirs}, not of {ours}.'
    )


def _open(spec, size, split, path):
  info = _info(spec, size, path)
  if split not in info.splits:
    raise UserError(
      f'{spec} has no split {split!r}; it has {", ".join(sorted(info.splits))} '
      f'({path}).'
    )
  shards = info.splits[split]
  if not shards.num_examples:
    raise UserError(f'{spec}, split {split!r}, has no examples ({path}).')
  own_size = info.metadata['size']
  records = Records(
    name=spec,
    split=split,
    path=path,
    encoding=_encoding(path, info.metadata['encoding']),
    size=tuple(own_size) if own_size else None,
    jpeg=info.metadata['jpeg'],
    files=tuple(str(f) for f in shards.filepaths),
    lengths=tuple(shards.shard_lengths),
    soft=info.metadata.get('soft', 0),
  )
  records._source  # noqa: B018  opens every file: a broken one is named here
  return records


def _encoding(path, name):
  """Return the encoding of labels; the path of a table that lies with them."""
  return str(path / name) if tables.is_file(name) else name


def _info(spec, size, path):
  from google.protobuf import json_format

  tfds = tf_lib.import_tfds()
  try:
    info = tfds.builder_from_directory(path).info
    missing = {'encoding', 'size', 'jpeg'} - set(info.metadata or {})
  except (OSError, ValueError, LookupError, json_format.ParseError) as e:
    missing = f'{type(e).__name__}: {e}'
  if missing:
    raise UserError(
      f'{path} is not a prepared dataset of this project ({missing}); '
      f'{_remedy(spec, size, path)}'
    )
  return info


def _title(spec, split, size):
  return f'{spec}, {split}, at {specs.size_name(size)}'


def _image_size(content):
  with PIL.Image.open(io.BytesIO(content)) as picture:
    return picture.size[::-1]


def _remedy(spec, size, path):
  command = stored.prepare_again(spec, size, path)
  return f'delete {path} and prepare it again: {command}'
