"""Predictions of runs side by side (ACCV 2020, Fig. 4).

  python -m jaxuda.analyze qualitative --workdirs=runs/before,runs/after

The figure shows --images of the scored split, evenly spread over it, what each
run predicts of them, their ground truth, and the last run's entropy. The table
has the share of each image's labelled pixels that each run predicts right, and
the mean entropy over log C of all its pixels. Predictions are those of the
image as it is, in one pass, at the size of its label or, without one, its own.
"""

import pathlib

import jax
import numpy as np
from absl import flags

from jaxuda import experiment, labels
from jaxuda.analyze import _common
from jaxuda.evaluation import figure_writer, inference
from jaxuda.figures import segmentation
from jaxuda.input import from_config
from jaxuda.labels import IGNORE
from jaxuda.utils import cli


def define_flags(command: cli.Flags) -> None:
  """Define the flags of this analysis."""
  _common.define_run_flags(command)
  command.integer('images', 3, 'How many images are shown.', lower_bound=1)


def run(given: flags.FlagValues, output: pathlib.Path) -> str:
  """Predict and draw; see the package."""
  loaded = _common.load_runs(given)
  first = next(iter(loaded.values()))
  records = from_config.open_eval(first.config)
  count = min(given.images, len(records))
  shown = figure_writer.examples(records, first.eval_space.name, count)
  predicted = {title: predict(one, shown) for title, one in loaded.items()}
  places = records.spread(count)
  names = [records.parse(i)['id'].decode() for i in places]
  rows = [
    (title, name, share_right(ids, example.label), entropy.mean())
    for title, found in predicted.items()
    for name, example, (ids, entropy) in zip(names, shown, found, strict=True)
  ]
  header = ('run', 'image', 'right', 'entropy')
  _common.write_csv(output / 'qualitative.csv', header, rows)
  *_, last = predicted.values()
  segmentation.qualitative(
    output / 'qualitative.png',
    [
      segmentation.Row(
        example.image,
        [found[i][0] for found in predicted.values()],
        example.label,
        last[i][1],
      )
      for i, example in enumerate(shown)
    ],
    list(predicted),
    first.eval_space,
  )
  means = {t: np.mean([r[2] for r in rows if r[0] == t]) for t in predicted}
  listed = ', '.join(f'{title} {mean:.1%}' for title, mean in means.items())
  return (
    f'right of the labelled pixels of {count} images of {records.name} '
    f'{records.split}, in the mean: {listed}.'
  )


def predict(
  one: experiment.Run, shown: list[figure_writer.Example]
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Return a run's predictions of examples, in the classes that are scored.

  Args:
    one: the run.
    shown: the examples.

  Returns:
    Of each, at the size of its label: u8[h, w] class indices, 255 where the
    predicted class has no place among the scored ones; f32[h, w] entropy.
  """
  segment = inference.jitted_segment(one.net, one.config.eval.upsample)
  scored = labels.merge(one.space.name, one.eval_space.name)
  scored = np.where(scored < 0, IGNORE, scored).astype(np.uint8)
  found = []
  for example in shown:
    like = example.image if example.label is None else example.label
    ids, entropy = jax.device_get(
      segment(one.params, one.batch_stats, example.image, size=like.shape[:2])
    )
    found.append((scored[ids], entropy))
  return found


def share_right(ids: np.ndarray, label: np.ndarray | None) -> float:
  """Return the share of labelled pixels that are right; NaN without any.

  Args:
    ids: u8[h, w] predicted class indices.
    label: u8[h, w] true ones, 255 where ignored; None where there is none.
  """
  if label is None or (label == IGNORE).all():
    return float('nan')
  return float((ids == label)[label != IGNORE].mean())
