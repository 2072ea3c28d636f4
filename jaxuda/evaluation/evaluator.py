"""Scores a trained run, and writes what was found."""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from jaxuda.evaluation import counting, ensemble, figure_writer
from jaxuda.evaluation import scores as scores_lib
from jaxuda.input import from_config
from jaxuda.utils import sharding
from jaxuda.utils.errors import UserError


def score_as(config, counts: np.ndarray, images: int) -> scores_lib.Scores:
  """Scores of an experiment's counts, in the classes and by its `eval`."""
  protocol = config.eval
  return scores_lib.score(
    counts, images, config.classes, protocol.classes, protocol.missing_class_iou
  )


def evaluate_run(
  run,
  workdir: pathlib.Path,
  members: Sequence[dict] = (),
  network: str = 'segmenter',
) -> scores_lib.Scores:
  """Scores a restored run as its config says, and writes what was found.

  Args:
    run: an experiment.Run.
    workdir: its folder; `evaluation/` in it receives scores and figures.
    members: of ensemble.record, where the run is of ensemble.join.
    network: which of the run's it is, of experiment.NETWORKS.

  Raises:
    UserError: the scored data is not prepared, or another ensemble's scores are
      in the way; or `workdir` cannot be written; the table has been printed
      then.
  """
  config, mesh = run.config, sharding.make_mesh()
  if config.eval.batch_size % mesh.size:
    # Padding is not counted, so that any batch size gives the same scores.
    config.eval.batch_size = mesh.size
  records = from_config.open_eval(config)
  how = {
    'step': run.step,
    'network': network,
    'dataset': config.eval.name,
    'split': records.split,
    'scales': list(config.eval.scales),
    'flip': config.eval.flip,
    'average': config.eval.average,
    'upsample': config.eval.upsample,
    'missing_class_iou': config.eval.missing_class_iou,
  }
  title, column = workdir.name, f'step {run.step}'
  if members:
    how['ensemble'] = list(members)
    title = column = ensemble.title(members)
  folder = workdir / 'evaluation' / _name(how)
  if members:
    ensemble.check_free(folder, how['ensemble'])
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
  print(scores_lib.table({column: scores}))
  scores_lib.write(folder / 'scores.json', scores_lib.to_json(scores) | how)
  source = None
  try:
    source = from_config.open_streams(config, ['source'])['source'].records
  except UserError as e:
    print(f'entropy.png shows the target alone: {e}')
  figure_writer.FigureWriter(config, run.net, records).draw(
    folder, source, {title: variables}, scores
  )
  print(f'scores and figures: {folder}')
  return scores


def _name(how: dict) -> str:
  """The folder of an evaluation: val-9, or val-9-scales=0.7,1.0-flip."""
  parts = [how['split'], str(how['step'])]
  if 'ensemble' in how:
    parts.append(ensemble.folder_name(how['ensemble']))
  if how['scales'] != [1.0]:
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
