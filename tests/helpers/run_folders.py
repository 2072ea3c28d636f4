"""Folders as finished runs leave them, written by hand in no time."""

import pathlib

import numpy as np
from PIL import Image

from jaxuda import config as config_lib
from jaxuda.evaluation import scores as scores_lib
from jaxuda.utils import metrics_csv, sealed


def counts_of(ious) -> np.ndarray:
  """Return counts whose IoUs are these: pixels of a class and of no other."""
  classes = len(ious)
  counts = np.zeros((classes, classes + 1), np.int64)
  for i, iou in enumerate(ious):
    counts[i, i] = round(1000 * iou)
    counts[i, classes] = 1000 - counts[i, i]
  return counts


def write(
  folder: pathlib.Path,
  *overrides: str,
  ious=None,
  rows=(),
  config: str = 'configs/advent.py:streets',
) -> pathlib.Path:
  """Write a run.

  Args:
    folder: of the run.
    overrides: KEY=VALUE of its config.
    ious: of each class in 0..1; None for a run that is not finished. One that
      is ends with its last row.
    rows: (step, {name: value}) of its metrics.csv; without any, a finished run
      has its score.
    config: a config file, with its argument.
  """
  if ious is not None and rows:
    overrides = (*overrides, f'steps={rows[-1][0]}')
  loaded = config_lib.load(config, overrides)
  if ious is not None and not rows:
    rows = [(loaded.steps, {'eval/mIoU': float(np.mean(ious))})]
  folder.mkdir(parents=True)
  config_lib.write_run(folder, config_lib.to_json(loaded))
  log = metrics_csv.MetricsCsv(folder / 'metrics.csv')
  for step, values in rows:
    log.append(step, values)
  if ious is not None:
    scores = scores_lib.score(
      counts_of(ious), 200, loaded.classes, loaded.eval.classes
    )
    scores_lib.write(folder / 'scores.json', scores_lib.to_json(scores))
  return folder


def read(path: pathlib.Path) -> dict:
  """Return what a sealed file of a run says, without its checksum."""
  return sealed.read(path, None, '')


def draw(folder: pathlib.Path, kinds=('image', 'after', 'entropy')) -> None:
  """Draw the single pictures of a run, and its confusion matrix."""
  panels = folder / 'figures' / 'panels'
  panels.mkdir(parents=True)
  rng = np.random.default_rng(0)
  for number in (1, 2):
    for kind in kinds:
      picture = rng.integers(0, 256, (24, 48, 3), np.uint8)
      Image.fromarray(picture).save(panels / f'{number}-{kind}.png')
  Image.fromarray(picture).save(folder / 'figures' / 'confusion.png')
