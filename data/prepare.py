"""Prepares a dataset once: raw files in, records of one image size out.

  python -m data.prepare gta5 --raw=DIR --size=720x1280

NAME is a dataset (all its variants) or NAME/VARIANT. Images are resized with
Pillow BICUBIC, labels with NEAREST; val and test also keep the label at its own
size. The first problem stops it with one sentence and nothing is left behind.
"""

import argparse
import collections
import os
import pathlib
import shutil
import sys
import time

import data
from data import builder, check, files, guard, images, lock, pool, progress
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
    workers: number of processes; None for all cores.

  Returns:
    The folder of the prepared dataset.

  Raises:
    UserError: names the first file that is wrong, or what else is.
  """
  folder = data.prepared_dir(spec, size, data_dir, jpeg=jpeg is not None)
  if data.is_prepared(folder):
    print(f'{spec} is prepared already: {folder}')
    return folder
  splits, left_out = find(spec, raw, allow_missing)
  root = folder.parents[2]
  start = time.monotonic()
  waiting = f'{spec}: waiting for another process that prepares it'
  lock_file = folder.parent.with_name(f'.{folder.parent.name}.lock')
  total = sum(len(found.examples) for found in splits.values())
  with pool.ordered_map(workers, total) as mapped:
    # TensorFlow takes seconds, in which the workers start. It comes before the
    # signal handler because its import can swallow what a handler raises.
    data_tf.import_tfds()
    with (
      guard.interruptible() as check_stop,
      guard.explained(root),
      guard.clean(folder),
      lock.hold(lock_file, lambda: print(waiting, flush=True)),
    ):
      if data.is_prepared(folder):
        return folder
      for stale in folder.parent.glob(f'incomplete.*_{folder.name}'):
        shutil.rmtree(stale)  # of a process that was killed
      _write(spec, size, root, jpeg, splits, left_out, mapped, check_stop)
  seconds = time.monotonic() - start
  print(f'{spec}: {_summary(folder, splits)}, {seconds:.0f} s: {folder}')
  return folder


def find(
  spec: str, raw: str | os.PathLike | None, allow_missing: bool
) -> tuple[dict[str, files.Split], list[str]]:
  """Finds every example of a dataset and checks that none is missing.

  Returns:
    split -> its examples, and the files left out for want of a partner.
  """
  name, variant = data.split_spec(spec)
  module = data.module(name)
  if module.NEEDS_RAW and not raw:
    raise UserError(
      f'{spec} is made from its download: give its folder with --raw=DIR '
      f'(data/{name}/README.md says where to get it).'
    )
  splits, left_out = {}, []
  for split, published in module.COUNTS.items():
    found = module.examples(pathlib.Path(raw or '.'), variant, split)
    if found is None:
      print(f'{spec}: there is no {split} split in {raw}')
      continue
    problems = [
      p for e in found.examples for p in check.missing(e, found.labelled)
    ]
    if problems and not allow_missing:
      raise UserError(f'{problems[0]} --allow_missing leaves such files out.')
    if len(found.examples) != published and not allow_missing:
      raise UserError(
        f'{raw}: {spec} has {published:,} {split} images, here are '
        f'{len(found.examples):,}; --allow_missing prepares what is there.'
      )
    if problems:
      left_out += [p.path for p in problems]
      complete = [
        e for e in found.examples if not check.missing(e, found.labelled)
      ]
      found = found._replace(examples=complete)
      print(
        f'{spec}, {split}: left out {len(problems):,} files without a partner, '
        f'the first is {problems[0].path}'
      )
    if not found.examples:
      raise UserError(
        f'{raw}: no {split} images of {spec}; data/{name}/README.md shows the '
        'expected files.'
      )
    if not found.labelled:
      print(f'{spec}, {split}: without labels')
    splits[split] = found
  return splits, left_out


def _write(spec, size, root, jpeg, splits, left_out, mapped, check_stop):
  name, variant = data.split_spec(spec)
  counts = {split: len(found.examples) for split, found in splits.items()}
  warnings = []

  def generate(split):
    found = splits[split]
    tasks = [
      builder.Task(name, variant, split, size, jpeg, found.labelled, example)
      for example in found.examples
    ]
    written = 0
    with progress.bar(f'{spec} {split}', len(tasks)) as advance:
      for i, (record, noted) in enumerate(mapped(builder.record, tasks), 1):
        check_stop()
        warnings.extend(noted)
        written += sum(map(len, record.values()))
        if i == ENOUGH:
          _check_space(root, written / i * (len(tasks) - i))
        yield record
        advance()

  builder.write(spec, size, root, jpeg, counts, generate, left_out)
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


def _summary(folder, splits):
  size = sum(f.stat().st_size for f in folder.iterdir())
  counts = ', '.join(
    f'{len(found.examples):,} {split}' for split, found in splits.items()
  )
  return f'{counts} examples written, {size / 2**20:,.0f} MiB'


def main(argv: list[str]) -> int:
  """The command line."""
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
    '--workers', type=int, help='number of processes (default: all cores)'
  )
  args = parser.parse_args(argv)
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
      workers=args.workers,
    )
  return 0


if __name__ == '__main__':
  try:
    exit_with_sentence(main, sys.argv[1:])
  except KeyboardInterrupt:
    print('interrupted; nothing was left behind', file=sys.stderr)
    sys.exit(130)
