"""Preparing a dataset once: raw files in, records of one image size out.

The first problem stops it with one sentence, and nothing is left behind.
"""

import collections
import functools
import os
import pathlib
import shutil
import time

from jaxuda.datasets import builder, gather, own, pool, specs, stored
from jaxuda.utils import console, guard, lock, signals
from jaxuda.utils import tensorflow as tf_lib
from jaxuda.utils.errors import UserError

ENOUGH = 64  # examples from which the size of the dataset is estimated


def prepare(
  spec: str,
  *,
  size: specs.Size,
  raw: str | os.PathLike | None = None,
  data_dir: str | os.PathLike | None = None,
  jpeg: int | None = None,
  allow_missing: bool = False,
  allow_ignored: bool = False,
  workers: int | None = None,
) -> pathlib.Path:
  """Prepare one dataset; print what is done.

  Args:
    spec: NAME or NAME/VARIANT.
    size: (H, W) of the images, None for the raw size.
    raw: folder of the download; not for streets.
    data_dir: root of the prepared datasets; None for the default.
    jpeg: quality of lossy images, None for lossless PNG.
    allow_missing: prepare what is there although files, or whole splits, are
      missing.
    allow_ignored: prepare images whose label has no pixel of any class, too.
    workers: number of processes; None for all cores.

  Returns:
    The folder of the prepared dataset.

  Raises:
    UserError: a file or something else is wrong; or the dataset was prepared
      before, from fewer images or at another JPEG quality.
  """
  folder = specs.prepared_dir(spec, size, data_dir, jpeg=jpeg is not None)
  # Before its files are listed: one that comes meanwhile is told as a change.
  metadata = {'allow_missing': allow_missing}
  if own.is_own(spec):
    metadata['fingerprint'] = own.fingerprint(spec)
  done = functools.partial(_is_done, spec, folder, jpeg, metadata)
  if done():
    return folder
  flags = {
    f'--jpeg={jpeg}': jpeg,
    '--allow_missing': allow_missing,
    '--allow_ignored': allow_ignored,
  }
  command = specs.prepare_command(spec, size, data_dir, raw)
  command = ' '.join([command, *(flag for flag in flags if flags[flag])])
  splits, left_out = gather.gather(spec, raw, allow_missing, command)
  tasks = _tasks(spec, size, jpeg, splits, allow_ignored, command)
  write = functools.partial(
    builder.write,
    spec,
    size,
    folder.parents[2],
    jpeg,
    has=_labels(splits),
    metadata=metadata | {'left_out': left_out},
  )
  _make(spec, folder, tasks, workers, write, done, command)
  return folder


def ensure(
  spec: str,
  size: specs.Size,
  data_dir: str | os.PathLike | None = None,
  resumed: bool = False,
) -> pathlib.Path:
  """Return the folder of a prepared dataset.

  If only its JPEG form is prepared, it is that one. What needs no download
  is prepared now, with a progress bar.

  Args:
    spec: NAME or NAME/VARIANT.
    size: (H, W) of the images, None for the raw size.
    data_dir: root of the prepared datasets; None for the default.
    resumed: whether it is read by a run that goes on, for which it stays what
      it was, whatever files have come or changed since.

  Raises:
    UserError: it is not prepared; the message has the command that does it. Or
      it was prepared from other files.
  """
  for jpeg in (False, True):
    folder = specs.prepared_dir(spec, size, data_dir, jpeg=jpeg)
    if specs.is_prepared(folder):
      if own.is_own(spec) and _changed(spec, folder):
        _tell_change(spec, folder, resumed)
      return folder
  name, _ = specs.split_spec(spec)
  if specs.module(name).NEEDS_RAW and not own.is_own(name):
    raise UserError(
      f'{spec} is not prepared at {specs.size_name(size)} in '
      f'{folder.parents[2]}: '
      f'run `{specs.prepare_command(spec, size, data_dir)}` '
      f'({specs.page(name)} '
      'says where to get the files), or name the folder where it is prepared '
      'in $TFDS_DATA_DIR; configs/NAME.py:streets needs no download.'
    )
  return prepare(spec, size=size, data_dir=data_dir)


def _tell_change(spec, folder, resumed):
  text = f'the files of {spec} have changed since they were prepared'
  if not resumed:
    raise UserError(
      f'{text}; delete {folder} and they are prepared again, also for runs '
      'that go on.'
    )
  console.print_once(
    f'note: {text}; the run goes on with what it has read before.'
  )


def _make(spec, folder, tasks, workers, write, done, command):
  """Write all records, one process at a time; print what was done."""
  root = folder.parents[2]
  start = time.monotonic()
  waiting = f'{spec}: waiting for another process that prepares it'
  lock_file = folder.parent.with_name(f'.{folder.parent.name}.lock')
  expected = sum(map(len, tasks.values()))
  with pool.ordered_map(command, workers, expected) as mapped:
    # TensorFlow takes seconds, in which the workers start. It comes before the
    # signal handler because its import can swallow what a handler raises.
    tf_lib.import_tfds()
    with (
      signals.Unwinding() as stop,
      guard.explained(root),
      guard.clean(folder),
      lock.hold(lock_file, lambda: print(waiting, flush=True)),
    ):
      if done():  # by the process that this one waited for
        return
      for stale in folder.parent.glob(f'incomplete.*_{folder.name}'):
        shutil.rmtree(stale)  # of a process that was killed
      _write(spec, root, tasks, mapped, stop, write, command)
  seconds = time.monotonic() - start
  print(f'{spec}: {_summary(folder, tasks)}, {seconds:.0f} s: {folder}')


def _is_done(spec, folder, jpeg, metadata):
  """Return whether it is prepared as it is asked for now; print if so."""
  if not specs.is_prepared(folder):
    return False
  again = f'delete {folder} and prepare again.'
  there = stored.metadata(folder)
  if there.get('fingerprint') != metadata.get('fingerprint'):
    raise UserError(f'the files of {spec} have changed since then; {again}')
  quality = there.get('quality')
  if quality != jpeg:
    raise UserError(
      f'{spec} is prepared at JPEG quality {quality}, not {jpeg}; {again}'
    )
  if some := _part(spec, folder):
    if not metadata['allow_missing']:
      raise UserError(f'{spec} was prepared {some}; {again}')
    print(f'{spec} is prepared already, {some}: {folder}')
    return True
  print(f'{spec} is prepared already: {folder}')
  return True


def _part(spec, folder):
  """Return what a prepared dataset was made from, '' for all that there is."""
  lengths, parts = stored.lengths(folder), []
  if short := stored.shortfall(spec, lengths):
    there = sum(lengths[split] for split in short)
    parts.append(f'from {there:,} of {sum(short.values()):,} images')
  # Without --allow_missing a split is left out only where it always may be.
  if stored.metadata(folder).get('allow_missing'):
    name, _ = specs.split_spec(spec)
    absent = specs.module(name).COUNTS.keys() - lengths
    parts += [f'without its {split} split' for split in sorted(absent)]
  return ' and '.join(parts)


def _changed(spec, folder):
  """Return whether own data has other files than when it was prepared.

  Where it is gone, what was prepared of it is what there is.
  """
  try:
    now = own.fingerprint(spec)
  except (UserError, OSError):
    return False
  return stored.metadata(folder).get('fingerprint') != now


def _labels(splits):
  """Return the features of labels to the splits that have them."""
  labelled = [split for split, found in splits.items() if found.labelled]
  evaluated = [s for s in labelled if s in specs.EVALUATION_SPLITS]
  return {'label': labelled, 'label_full': evaluated}


def _tasks(spec, size, jpeg, splits, allow_ignored, command):
  """Return split -> what is to be done for each of its examples."""
  name, variant = specs.split_spec(spec)
  return {
    split: [
      builder.Task(
        name,
        variant,
        split,
        size,
        jpeg,
        found.labelled,
        allow_ignored,
        command,
        example,
      )
      for example in found.examples
    ]
    for split, found in splits.items()
  }


def _write(spec, root, tasks, mapped, stop, write, command):
  """Make all records; `write` is `builder.write` with the rest given."""
  # Late, because it is TensorFlow.
  from tensorflow_datasets.core import shuffle

  warnings = []

  def generate(split):
    todo = tasks[split]
    written = 0
    with console.progress(f'{spec} {split}', len(todo)) as advance:
      for i, (record, noted) in enumerate(mapped(builder.record, todo), 1):
        stop.check()
        warnings.extend(noted)
        written += sum(map(len, record.values()))
        if i == ENOUGH:
          _check_space(root, written / i * (len(todo) - i), command)
        yield record
        advance()
    # TFDS then has them in temporary files, which it reads and writes again.
    if written > shuffle.MAX_MEM_BUFFER_SIZE:
      gib = written / 2**30
      print(f'{spec} {split}: putting {gib:.1f} GiB in order', flush=True)

  counts = {split: len(todo) for split, todo in tasks.items()}
  write(counts=counts, generate=generate)
  for kind, count in collections.Counter(w.kind for w in warnings).items():
    first = next(w for w in warnings if w.kind == kind)
    print(f'{spec}: warning: {kind}, {count:,} files: {first}')


def _check_space(root, needed, command):
  free = shutil.disk_usage(root).free
  if needed > free:
    smaller = '' if '--jpeg' in command else f', or run `{command} --jpeg`'
    raise UserError(
      f'{root}: about {needed / 2**30:.1f} GiB more are needed, '
      f'{free / 2**30:.1f} GiB are free; make room{smaller}.'
    )


def _summary(folder, tasks):
  size = sum(f.stat().st_size for f in folder.iterdir())
  counts = ', '.join(f'{len(todo):,} {split}' for split, todo in tasks.items())
  return f'{counts} examples written, {size / 2**20:,.0f} MiB'
