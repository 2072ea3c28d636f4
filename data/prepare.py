"""Prepares a dataset once: raw files in, records of one image size out.

  python -m data.prepare gta5 --raw=DIR --size=720x1280

NAME is a dataset (all its variants) or NAME/VARIANT. Images are resized with
Pillow BICUBIC, labels with NEAREST; val and test also keep the label at its own
size. The first problem stops it with one sentence and nothing is left behind.
"""

import argparse
import collections
import functools
import os
import pathlib
import shutil
import sys
import time

import data
from data import (
  builder,
  gather,
  guard,
  images,
  lock,
  pool,
  progress,
  stored,
)
from data import tf as data_tf
from jaxuda.errors import UserError, exit_with_sentence

ENOUGH = 64  # examples after which the size of the dataset can be told


def prepare(
  spec: str,
  *,
  size: data.Size,
  raw: str | os.PathLike | None = None,
  data_dir: str | os.PathLike | None = None,
  jpeg: int | None = None,
  allow_missing: bool = False,
  allow_ignored: bool = False,
  workers: int | None = None,
) -> pathlib.Path:
  """Prepares one dataset; prints what it does.

  Args:
    spec: NAME or NAME/VARIANT.
    size: (H, W) of the images, None for the raw size.
    raw: folder of the download; not for streets.
    data_dir: root of the prepared datasets; None for the default.
    jpeg: quality of lossy images, None for lossless PNG.
    allow_missing: prepare what is there although files are missing.
    allow_ignored: prepare images whose label has no pixel of any class, too.
    workers: number of processes; None for all cores.

  Returns:
    The folder of the prepared dataset.

  Raises:
    UserError: names the first file that is wrong, or what else is; or it was
      prepared before, from fewer images or at another JPEG quality.
  """
  folder = data.prepared_dir(spec, size, data_dir, jpeg=jpeg is not None)
  if _is_done(spec, folder, jpeg, allow_missing):
    return folder
  splits, left_out = gather.gather(spec, raw, allow_missing)
  tasks = _tasks(spec, size, jpeg, splits, allow_ignored)
  write = functools.partial(
    builder.write,
    spec,
    size,
    folder.parents[2],
    jpeg,
    left_out=left_out,
    allow_missing=allow_missing,
  )
  done = functools.partial(_is_done, spec, folder, jpeg, allow_missing)
  _make(spec, folder, tasks, workers, write, done)
  return folder


def _make(spec, folder, tasks, workers, write, done):
  """Writes all records, alone and cleanly; says what it did."""
  root = folder.parents[2]
  start = time.monotonic()
  waiting = f'{spec}: waiting for another process that prepares it'
  lock_file = folder.parent.with_name(f'.{folder.parent.name}.lock')
  with pool.ordered_map(workers, sum(map(len, tasks.values()))) as mapped:
    # TensorFlow takes seconds, in which the workers start. It comes before the
    # signal handler because its import can swallow what a handler raises.
    data_tf.import_tfds()
    with (
      guard.interruptible() as check_stop,
      guard.explained(root),
      guard.clean(folder),
      lock.hold(lock_file, lambda: print(waiting, flush=True)),
    ):
      if done():  # by the one that was waited for
        return
      for stale in folder.parent.glob(f'incomplete.*_{folder.name}'):
        shutil.rmtree(stale)  # of a process that was killed
      _write(spec, root, tasks, mapped, check_stop, write)
  seconds = time.monotonic() - start
  print(f'{spec}: {_summary(folder, tasks)}, {seconds:.0f} s: {folder}')


def _is_done(spec, folder, jpeg, allow_missing):
  """Whether it is prepared, as it is asked for now; says so."""
  if not data.is_prepared(folder):
    return False
  again = f'delete {folder} and prepare again.'
  quality = stored.metadata(folder).get('quality')
  if quality != jpeg:
    raise UserError(
      f'{spec} is prepared at JPEG quality {quality}, not {jpeg}; {again}'
    )
  lengths = stored.lengths(folder)
  if short := stored.shortfall(spec, lengths):
    there = sum(lengths[split] for split in short)
    some = f'{there:,} of {sum(short.values()):,} images'
    if not allow_missing:
      raise UserError(f'{spec} was prepared from {some}; {again}')
    print(f'{spec} is prepared already, from {some}: {folder}')
    return True
  print(f'{spec} is prepared already: {folder}')
  return True


def _tasks(spec, size, jpeg, splits, allow_ignored):
  """split -> what is to be done for each of its examples."""
  name, variant = data.split_spec(spec)
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
        example,
      )
      for example in found.examples
    ]
    for split, found in splits.items()
  }


def _write(spec, root, tasks, mapped, check_stop, write):
  """Makes all records; `write` is `builder.write` but for these."""
  # Late, because it is TensorFlow.
  from tensorflow_datasets.core import shuffle

  warnings = []

  def generate(split):
    todo = tasks[split]
    written = 0
    with progress.bar(f'{spec} {split}', len(todo)) as advance:
      for i, (record, noted) in enumerate(mapped(builder.record, todo), 1):
        check_stop()
        warnings.extend(noted)
        written += sum(map(len, record.values()))
        if i == ENOUGH:
          _check_space(root, written / i * (len(todo) - i))
        yield record
        advance()
    # TFDS has them in temporary files then, which it reads and writes again.
    if written > shuffle.MAX_MEM_BUFFER_SIZE:
      gib = written / 2**30
      print(f'{spec} {split}: putting {gib:.1f} GiB in order', flush=True)

  counts = {split: len(todo) for split, todo in tasks.items()}
  write(counts=counts, generate=generate)
  for kind, count in collections.Counter(w.kind for w in warnings).items():
    first = next(w for w in warnings if w.kind == kind)
    print(f'{spec}: warning: {kind}, {count:,} files: {first}')


def _check_space(root, needed):
  free = shutil.disk_usage(root).free
  if needed > free:
    raise UserError(
      f'{root}: about {needed / 2**30:.1f} GiB more are needed, '
      f'{free / 2**30:.1f} GiB are free; choose another --data_dir, a smaller '
      '--size or --jpeg.'
    )


def _summary(folder, tasks):
  size = sum(f.stat().st_size for f in folder.iterdir())
  counts = ', '.join(f'{len(todo):,} {split}' for split, todo in tasks.items())
  return f'{counts} examples written, {size / 2**20:,.0f} MiB'


def _parser():
  parser = argparse.ArgumentParser(
    prog='python -m data.prepare',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('name', help=f'one of: {", ".join(data.DATASETS)}')
  parser.add_argument('--raw', metavar='DIR', help='folder of the download')
  parser.add_argument(
    '--size',
    default=None,
    metavar='HxW',
    help="height x width of the images, or 'full' (default: full; for streets "
    '96x192)',
  )
  parser.add_argument(
    '--data_dir',
    metavar='DIR',
    help='root of the prepared datasets (default: $TFDS_DATA_DIR or '
    '~/tensorflow_datasets)',
  )
  parser.add_argument(
    '--jpeg',
    nargs='?',
    type=int,
    const=images.DEFAULT_JPEG_QUALITY,
    metavar='QUALITY',
    help='store images as JPEG (quality 1 to 100, default '
    f'{images.DEFAULT_JPEG_QUALITY}): a third of the size, not lossless',
  )
  parser.add_argument(
    '--allow_missing',
    action='store_true',
    help='prepare what is there although files are missing',
  )
  parser.add_argument(
    '--allow_ignored',
    action='store_true',
    help='keep images whose label has no pixel of any class',
  )
  parser.add_argument(
    '--workers', type=int, help='number of processes (default: all cores)'
  )
  return parser


def main(argv: list[str]) -> int:
  """The command line."""
  args = _parser().parse_args(argv)
  if args.jpeg is not None and not 1 <= args.jpeg <= 100:
    raise UserError(f'--jpeg={args.jpeg}: a JPEG quality is from 1 to 100.')
  if args.workers is not None and args.workers < 1:
    raise UserError(f'--workers={args.workers}: there must be at least one.')
  for spec in data.specs_of(args.name):
    name, _ = data.split_spec(spec)
    size = data.module(name).DEFAULT_SIZE
    if args.size:
      size = data.parse_size(args.size)
    prepare(
      spec,
      size=size,
      raw=args.raw,
      data_dir=args.data_dir,
      jpeg=args.jpeg,
      allow_missing=args.allow_missing,
      allow_ignored=args.allow_ignored,
      workers=args.workers,
    )
  return 0


if __name__ == '__main__':
  try:
    exit_with_sentence(main, sys.argv[1:])
  except KeyboardInterrupt:
    print('interrupted; nothing was left behind', file=sys.stderr)
    sys.exit(130)
