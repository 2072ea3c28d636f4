"""What the tests of the analyses share."""

import csv
import io

import numpy as np
import prepared
import run_folders
from PIL import Image

from jaxuda import config as config_lib
from jaxuda import input as input_lib
from jaxuda import labels
from jaxuda.analyze import __main__ as command
from jaxuda.evaluation import scores as scores_lib

SIZE = (16, 32)
ROAD, SKY, BUILDING, CAR = 7, 23, 11, 26  # ids of label files
BY_INDEX = np.array([*labels.ids_of('cityscapes').values()], np.uint8)


def analyze(*arguments):
  """Call the command line; return the exit status."""
  return command.main(['analyze', *map(str, arguments)])


def table(path):
  """Return the rows of a CSV file, each {column: text}."""
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


def picture(path):
  """Return a figure as u8[H, W, 3]; fail on a blank page."""
  pixels = np.asarray(Image.open(path).convert('RGB'))
  assert min(pixels.shape[:2]) > 200
  assert len(np.unique(pixels @ (1 << 16, 1 << 8, 1))) > 20
  return pixels


def write_maps(folder, spec, counts, draw):
  """Write a prepared dataset of label maps.

  Args:
    folder: where prepared datasets are.
    spec: name of the dataset.
    counts: a split's name to the number of its maps.
    draw: rng -> a map of raw ids, u8[H, W].
  """

  def examples(split, count):
    rng = np.random.default_rng(len(spec) * 100 + len(split))
    image = np.zeros((*SIZE, 3), np.uint8)
    return [
      prepared.example(f'{split}_{i}', image, draw(rng)) for i in range(count)
    ]

  splits = {split: examples(split, n) for split, n in counts.items()}
  prepared.write(folder, spec, SIZE, splits)


def blocks(*ids):
  """Return a function that draws maps of random 4x4 blocks of these raw ids."""

  def draw(rng):
    small = rng.choice(np.array(ids, np.uint8), (SIZE[0] // 4, SIZE[1] // 4))
    return small.repeat(4, 0).repeat(4, 1)

  return draw


def raw_ids(folder, spec, split):
  """Return the label maps of a split as they are stored, u8[N, H, W]."""
  found = records(folder, spec, split)
  pngs = [found.parse(i)['label'] for i in range(len(found))]
  return np.stack([np.asarray(Image.open(io.BytesIO(p))) for p in pngs])


def records(folder, spec, split='train'):
  """Open a split of a dataset that `write_maps` has written."""
  return input_lib.open_records(spec, SIZE, split, folder)


def finished(folder, config, miou=None, counts=None):
  """Write the files of a finished run; return its folder.

  Each class has the IoU `miou`, unless there are counts.
  """
  if counts is None:
    counts = run_folders.counts_of([miou] * 19)
  found = scores_lib.score(counts, 4, 'cityscapes19', None)
  config_lib.write_run(folder, config_lib.to_json(config))
  scores_lib.write(folder / 'scores.json', scores_lib.to_json(found))
  return folder
