"""Scoring a trained run, and what is written of it."""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxuda.datasets import specs
from jaxuda.evaluation import counting, ensemble, figure_writer, inference
from jaxuda.evaluation import scores as scores_lib
from jaxuda.experiment import Run
from jaxuda.input import from_config
from jaxuda.utils import memory, sharding
from jaxuda.utils.console import print0


def score_as(config, counts: np.ndarray, images: int) -> scores_lib.Scores:
  """Score an experiment's counts, in the classes and by the rule of its `eval`.

  Args:
    config: the experiment's.
    counts: i64[C, C], in the classes of its logits.
    images: how many were counted.
  """
  return scores_lib.score(
    counts,
    images,
    config.classes,
    config.eval.classes,
    config.eval.missing_class_iou,
  )


def evaluate_run(
  run: Run, workdir: pathlib.Path, members: Sequence[dict] = ()
) -> scores_lib.Scores:
  """Score a restored run as its config says; print, write and draw the result.

  Args:
    run: the run, or an ensemble of several.
    workdir: its folder; `evaluation/` in it receives scores and figures.
    members: of ensemble.record, where the run is of ensemble.join.

  Raises:
    UserError: the scored data is not prepared, there is too little memory, or
      another ensemble's scores are in the way; or `workdir` cannot be written
      to: by then the table has been printed.
  """
  config, mesh = run.config, sharding.make_mesh()
  if config.eval.batch_size % mesh.size:
    # Padding is not counted, so that any batch size gives the same scores.
    config.eval.batch_size = mesh.size
  memory.check_fits(
    'config.eval.size', config.eval.size, 1, len(run.space.classes)
  )
  records = from_config.open_eval(config)
  how = _describe(run, records.split, members)
  folder = workdir / 'evaluation' / _name(how, config.target.name)
  title, column = workdir.name, f'step {run.step}'
  if members:
    ensemble.check_free(folder, how['ensemble'])
    title = column = ensemble.title(members)
  if run.network != 'segmenter':
    title, column = f'{title}, {run.network}', f'{column}, {run.network}'
  variables = jax.device_put(
    (run.params, run.batch_stats), sharding.replicated(mesh)
  )
  counts, images = counting.count_all(
    counting.make_count(run.net, config.eval, mesh),
    *variables,
    from_config.batches_of_eval(records, config),
    sharding.shard_batch(mesh),
  )
  scores = score_as(config, counts, images)
  print0(scores_lib.table({column: scores}))
  scores_lib.write(folder / 'scores.json', scores_lib.to_json(scores) | how)
  if config.num_log_images:
    figure_writer.FigureWriter(config, run.net, records).draw(
      folder, figure_writer.open_source(config), {title: variables}, scores
    )
  print0(f'scores and figures: {folder}')
  return scores


def _describe(run, split, members) -> dict[str, Any]:
  """Return what scores.json says of how the scores came about."""
  settings = run.config.eval
  how = {
    'step': run.step,
    'network': run.network,
    'dataset': settings.name,
    'split': split,
    **inference.protocol(settings),
    'missing_class_iou': settings.missing_class_iou,
  }
  if members:
    how['ensemble'] = list(members)
  return how


def _name(how, target) -> str:
  """Name the folder of an evaluation: val-9, or val-9-scales=0.7,1.0-flip.

  Where it is not the target's dataset that was scored, that is named, too.
  """
  parts = [how['split'], str(how['step'])]
  if how['dataset'] != target:
    parts.insert(0, specs.tfds_name(how['dataset']).replace('/', '_'))
  if 'ensemble' in how:
    parts.append(ensemble.folder_name(how['ensemble']))
  if tuple(how['scales']) != (1.0,):
    parts.append('scales=' + ','.join(map(str, how['scales'])))
  if how['flip']:
    parts.append('flip')
  for key, default in (
    ('network', 'segmenter'),
    ('average', 'probabilities'),
    ('upsample', 'logits'),
    ('missing_class_iou', 'excluded'),
  ):
    if how[key] != default:
      parts.append(f'{key}={how[key]}')
  return '-'.join(parts)
