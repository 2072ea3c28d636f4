"""Checks of prepared records: their number, checksums, sizes and ids."""

import functools
import io
import json
import os
import shlex
from typing import NamedTuple

from PIL import Image

from jaxuda.datasets import check, features, images, pool, specs, stored
from jaxuda.datasets.builder import CHECKSUMS
from jaxuda.datasets.files import Problem
from jaxuda.datasets.verify import report
from jaxuda.utils import console
from jaxuda.utils.errors import UserError


class _Task(NamedTuple):
  file: str
  position: int  # within the file
  ref: str  # names the record in messages
  name: str
  split: str
  size: specs.Size
  checksum: int


def verify(
  spec: str,
  size: specs.Size,
  data_dir: str | os.PathLike | None = None,
  workers: int | None = None,
) -> list[dict]:
  """Check every record of a prepared dataset.

  Returns:
    A report for each form, PNG or JPEG, in which it is prepared.

  Raises:
    UserError: neither is prepared.
  """
  folders = [
    specs.prepared_dir(spec, size, data_dir, jpeg=jpeg)
    for jpeg in (False, True)
  ]
  prepared = [folder for folder in folders if specs.is_prepared(folder)]
  if not prepared:
    raise UserError(
      f'{spec} is not prepared at {specs.size_name(size)}: '
      f'`{specs.prepare_command(spec, size, data_dir)}` does it.'
    )
  return [_verify_folder(spec, size, folder, workers) for folder in prepared]


def _verify_folder(spec, size, folder, workers):
  name, _ = specs.split_spec(spec)
  lengths, checksums = _described(folder)
  short = stored.shortfall(spec, lengths)
  splits, problems = {}, list(_partial(folder, lengths, short))
  command = (
    f'python -m data.verify {shlex.quote(spec)} --size={specs.size_name(size)} '
    f'--data_dir={shlex.quote(str(folder.parents[2]))}'
  )
  with pool.ordered_map(command, workers) as mapped:
    for split, expected in lengths.items():
      tasks = []
      try:
        tasks = list(_tasks(folder, name, split, size, checksums[split]))
      except Problem as problem:
        problems.append((split, problem))
      else:
        if len(tasks) != expected:
          text = f'{len(tasks):,} {split} records, {expected:,} were prepared.'
          problems.append((split, Problem('wrong count', str(folder), text)))
      splits[split] = {
        'found': len(tasks),
        'expected': short.get(split, expected),
      }
      seen = {}
      with console.progress(f'{spec} {split}', len(tasks)) as advance:
        for task, (key, found) in zip(
          tasks, mapped(_examine, tasks), strict=True
        ):
          problems += [(split, p) for p in found]
          if key is not None and seen.setdefault(key, task.ref) != task.ref:
            text = f'has the id of {seen[key]}.'
            problems.append((split, Problem('duplicate', task.ref, text)))
          advance()
  return report(spec, 'prepared records', str(folder), splits, problems)


def _partial(folder, lengths, short):
  """Yield what was missing at preparation: a warning where that was allowed."""
  allowed = stored.metadata(folder).get('allow_missing')
  for split, published in short.items():
    text = f'prepared from {lengths[split]:,} {split} images, but '
    text += f'{published:,} are published.'
    kind = 'partial' if allowed else 'wrong count'
    yield split, Problem(kind, str(folder), text)


def _described(folder):
  """Return split -> number of records, and split -> their checksums."""
  lengths = stored.lengths(folder)
  try:
    checksums = json.loads((folder / CHECKSUMS).read_text())
    if lengths != {split: len(sums) for split, sums in checksums.items()}:
      raise ValueError(f'{CHECKSUMS} has other counts')
  except (OSError, ValueError, LookupError, TypeError) as e:
    raise UserError(
      f'{folder} is damaged ({e}); delete it and prepare it again.'
    ) from e
  return lengths, checksums


def _tasks(folder, name, split, size, checksums):
  """Yield a task for each record, file after file."""
  index = 0
  stem = specs.tfds_name(name)
  for file in sorted(folder.glob(f'{stem}-{split}.array_record-*')):
    for position in range(_reader(str(file))[1]):
      checksum = checksums[index] if index < len(checksums) else -1
      ref = f'{file}[{position}]'
      yield _Task(str(file), position, ref, name, split, size, checksum)
      index += 1


@functools.lru_cache(maxsize=8)
def _reader(file):
  """Return an open ArrayRecord file and its number of records."""
  from array_record.python import array_record_module

  try:
    reader = array_record_module.ArrayRecordReader(file)
    return reader, reader.num_records()
  except (RuntimeError, ValueError, IndexError) as e:
    raise Problem('damaged record', file, f'cannot be opened: {e}.') from None


def _examine(task):
  """Return the id of a record, None where damaged, and its problems."""
  try:
    example = _read(task)
    return example['id'], list(_problems(task, example))
  except Problem as problem:
    return None, [problem]


def _read(task):
  from google.protobuf import message

  try:
    [record] = _reader(task.file)[0].read([task.position])
    example = features.parse(record)
  except (RuntimeError, ValueError, message.DecodeError) as e:
    text = f'cannot be read: {e}.'
    raise Problem('damaged record', task.ref, text) from None
  if features.checksum(example) != task.checksum:
    text = f'is not what was written: {CHECKSUMS} disagrees.'
    raise Problem('damaged record', task.ref, text)
  return example


def _problems(task, example):
  image = images.read_image(example['image'], task.ref)
  expected = task.size or (image.height, image.width)
  sizes = {'image': image}
  for key in ('label', 'label_full'):
    if not example[key]:
      continue
    label = Image.open(io.BytesIO(example[key]))
    outside = check.unknown_ids(task.name, label.histogram())
    if outside:
      text = f'its {key} has ids outside the map: '
      text += f'{images.describe_ids(outside)}.'
      yield Problem('unknown ids', task.ref, text, outside)
    if key == 'label':
      sizes[key] = label
  for key, picture in sizes.items():
    if (picture.height, picture.width) != expected:
      text = f'its {key} is {picture.height}x{picture.width}.'
      yield Problem('size mismatch', task.ref, text)
  evaluated = task.split in specs.EVALUATION_SPLITS
  if example['label'] and bool(example['label_full']) != evaluated:
    yield Problem('size mismatch', task.ref, 'full-size label: unexpected.')
