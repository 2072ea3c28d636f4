"""Images a second of one core, stage by stage, beside the originals' loader.

  python -m benchmarks.perf.input [--images=24] [--repeats=3] [--data_dir=DIR]
    [--streets=96x192] [--output=DIR]

Draws a small GTA5 in its exact encoding at its own size (1052x1914), prepares
it at 720x1280 as PNG and as JPEG, and reads it, and streets, as training does.
Beside that the originals' loader (ADVENT, advent/dataset/gta5.py: Pillow opens
and resizes both files, ids are mapped one by one, the mean is subtracted) on
the same files, through PyTorch's DataLoader where torch is installed; and what
TFDS makes of the prepared ones. What is counted are seconds of processor, not
of the clock.
"""

import importlib.util
import pathlib
import sys
import tempfile
import time

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

import jaxuda.tfds  # noqa: F401  TFDS reads ArrayRecord files as tf.data
from benchmarks import raw_trees
from benchmarks.perf import common
from jaxuda import input as input_lib
from jaxuda import labels
from jaxuda.datasets import prepare, specs
from jaxuda.input import decode, tfdata
from jaxuda.utils import cli
from jaxuda.utils import tensorflow as tf_lib

RAW_SIZE, SIZE = (1052, 1914), (720, 1280)


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.integer('images', 24, 'Images of the small GTA5.')
  command.integer('repeats', 3, 'The best of so many passes.')
  command.text('data_dir', None, 'Where streets is prepared.')
  command.text('streets', '96x192', 'The size of streets.')
  common.define_output(command)
  return command


def best_rate(run, images: int, repeats: int) -> float:
  """Return images a second of processor time, in the best of some passes.

  Args:
    run: goes once through the images.
    images: how many.
    repeats: passes, after one that is not counted.
  """
  run()
  seconds = []
  for _ in range(repeats):
    start = time.process_time()
    run()
    seconds.append(time.process_time() - start)
  return float(f'{images / min(seconds):.4g}')


def stages(records, size, count: int, repeats: int) -> dict[str, float]:
  """Return the rates of reading, then with decoding, flipping and batching."""
  tf = tf_lib.import_tensorflow()
  augment = input_lib.Augment(flip=True)
  decoder = decode.decoder(records, 'cityscapes19')
  everything = np.arange(count) % len(records)

  def read():
    records.read(everything)

  def drain(*functions):
    made = tf.data.Dataset.from_tensor_slices(records.read(everything))
    for function in functions:
      made = made.map(function, tfdata.workers(), deterministic=True)
    made = made.with_options(tfdata.options(tf))
    return lambda: [None for _ in made]

  def flip(example):
    return augment(
      example['image'], example['label'], (tf.constant(0), tf.constant(0))
    )

  stream = input_lib.Stream(records, 'cityscapes19', 1, augment)
  batches = input_lib.train_batches({'source': stream}, seed=0)

  def train():
    for _ in range(count):
      batch = next(batches)
    assert batch['source']['image'].shape == (1, *size, 3)

  runs = {
    'read': read,
    '+ decode': drain(decoder),
    '+ augment': drain(decoder, flip),
    'all: batches': train,
  }
  rates = {name: best_rate(run, count, repeats) for name, run in runs.items()}
  batches.close()
  return rates


def by_tfds(records, count: int, repeats: int) -> dict[str, float]:
  """Return the rates of what TFDS decodes of the first records of a split."""
  opened = tfds.builder_from_directory(records.path)
  part = f'{records.split}[:{min(count, len(records))}]'
  source = opened.as_data_source(part)
  uncached = tfds.ReadConfig(try_autocache=False)
  dataset = opened.as_dataset(part, read_config=uncached)
  runs = {
    'data source': lambda: [None for _ in source],
    'tf.data': lambda: [None for _ in dataset],
  }
  length = len(source)
  return {name: best_rate(run, length, repeats) for name, run in runs.items()}


def original(folder: pathlib.Path, count: int):
  """Return a call of ADVENT's loader on images/*.png and labels/*.png."""
  ids = labels.id_map('cityscapes', 'cityscapes19')
  pairs = [(i, int(ids[i])) for i in range(len(ids)) if ids[i] != 255]
  files = sorted((folder / 'images').glob('*.png'))
  mean = np.array((104.00698793, 116.66876762, 122.67891434), np.float32)
  width_height = SIZE[::-1]

  def load(index):
    path = files[index % len(files)]
    image = Image.open(path).convert('RGB')
    image = image.resize(width_height, Image.Resampling.BICUBIC)
    label = Image.open(folder / 'labels' / path.name)
    label = label.resize(width_height, Image.Resampling.NEAREST)
    label = np.asarray(label, np.float32)
    mapped = 255 * np.ones(label.shape, np.float32)
    for old, new in pairs:
      mapped[label == old] = new
    pixels = np.asarray(image, np.float32)[:, :, ::-1] - mean
    return pixels.transpose(2, 0, 1).copy(), mapped

  if not importlib.util.find_spec('torch'):
    return lambda: [load(i) for i in range(count)]
  import torch

  class Files(torch.utils.data.Dataset):
    def __len__(self):
      return count

    def __getitem__(self, index):
      return load(index)

  torch.set_num_threads(1)
  # No workers, so that the time of this process is all there is.
  loader = torch.utils.data.DataLoader(Files(), batch_size=1)
  return lambda: [None for _ in loader]


def of_gta5(count: int, repeats: int) -> tuple[dict, dict, float]:
  """Return the rates of a small GTA5, as PNG and JPEG, ours and TFDS's.

  And that of the originals' loader.
  """
  rows, decoded = {}, {}
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    raw_trees.write_raw_tree('gta5', folder / 'raw', count, RAW_SIZE)
    for kind, jpeg in (('PNG', None), ('JPEG', 95)):
      root = folder / kind
      prepare.prepare(
        'gta5',
        size=SIZE,
        raw=folder / 'raw',
        data_dir=root,
        jpeg=jpeg,
        allow_missing=True,
      )
      records = input_lib.open_records('gta5', SIZE, 'train', root)
      name = f'gta5 720x1280, {kind}'
      rows[name] = stages(records, SIZE, count, repeats)
      decoded[name] = by_tfds(records, count, repeats)
    run = original(folder / 'raw', count)
    theirs = best_rate(run, count, repeats)
  return rows, decoded, theirs


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  given = command.values
  count, repeats, where = given.images, given.repeats, given.data_dir
  size = specs.parse_size(given.streets)
  rows, decoded, theirs = of_gta5(count, repeats)
  prepare.ensure('streets/game', size, where)
  records = input_lib.open_records('streets/game', size, 'train', where)
  name = f'streets {given.streets}'
  rows[name] = stages(records, size, 40 * count, repeats)
  decoded[name] = by_tfds(records, 40 * count, repeats)
  ratios = {
    name: float(f'{list(row.values())[-1] / theirs:.3g}')
    for name, row in rows.items()
    if name.startswith('gta5')
  }
  result = {
    'images_per_core_second': rows,
    'by_tfds': decoded,
    'originals_loader': theirs,
    'times_originals': ratios,
  }
  for name, row in rows.items():
    told = (row | {f'TFDS, {k}': v for k, v in decoded[name].items()}).items()
    print(f'{name}: ' + ', '.join(f'{stage} {rate}' for stage, rate in told))
  print(f"the originals' loader: {theirs}; ours is {ratios} times as fast")
  print(common.write('input', result, given.output))
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
