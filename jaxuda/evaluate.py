"""Evaluation: confusion counts on the device, scores, and the command line.

python -m jaxuda.evaluate --workdir=RUN [--checkpoint=latest|best|STEP]
  [--scales=0.7,1.0,1.3] [--flip] [--split=SPLIT] [--data_dir=DIR]
python -m jaxuda.evaluate --workdir=RUN,RUN [--mix=0.5,0.5], for an ensemble:
  the weighted mean of the runs' upsampled logits, as ADVENT's A+E.
python -m jaxuda.evaluate --weights=FILE --config=PAGE, for a PyTorch file: in
  the network and by the protocol (`config.eval`) of that page; the scores are
  written to --workdir, runs/<the file's name> by default.
"""

import functools
import pathlib
import sys
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from jaxuda import compile_cache, ensemble, hosts, metrics, sharding, step
from jaxuda import config as config_lib
from jaxuda.errors import UserError, exit_with_sentence
from jaxuda.models import deeplab, layers
from jaxuda.models.ensemble import Ensemble
from jaxuda.scores import Scores, score, table, to_json, write_json

Array = jax.Array


def probabilities(
  params: dict,
  batch_stats: dict,
  image: Array,
  *,
  net: deeplab.DeepLabV2 | Ensemble,
  size: tuple[int, int],
  scales: Sequence[float] = (1.0,),
  flip: bool = False,
  average: str = 'probabilities',
  upsample: str = 'logits',
) -> Array:
  """Class probabilities, averaged over scaled and mirrored inputs.

  Args:
    params, batch_stats: the segmenter's.
    image: u8[B, H, W, 3].
    net: the segmenter, or an ensemble of several.
    size: (h, w) of the answer.
    scales: factors of the input's size; aligned corners, as in FADA (test.py).
    flip: whether each scale is also seen mirrored.
    average: of 'probabilities' (FADA), or of 'logits' (CRST, crst_seg.py),
      which is the geometric mean of probabilities but for a factor.
    upsample: see step.predict.

  Returns:
    f32[B, h, w, C].
  """
  predict = functools.partial(
    step.predict, params, batch_stats, net=net, size=size, upsample=upsample
  )
  parts = []
  for scale in scales:
    x = image
    if scale != 1.0:
      scaled = tuple(int(side * scale) for side in image.shape[1:3])
      x = layers.resize(image, scaled)
    parts.append(predict(x))
    if flip:
      parts.append(predict(x[:, :, ::-1])[:, :, ::-1])
  if average == 'logits':
    return jax.nn.softmax(sum(map(jnp.log, parts)) / len(parts))
  return sum(parts) / len(parts)


@functools.cache
def jitted_probabilities(net: deeplab.DeepLabV2 | Ensemble, upsample: str):
  """The jitted p(params, batch_stats, image, size=) of one view."""
  return jax.jit(
    functools.partial(probabilities, net=net, upsample=upsample),
    static_argnames='size',
  )


def make_count(net: deeplab.DeepLabV2 | Ensemble, eval_config, mesh):
  """The jitted count(params, batch_stats, image, label) -> i32[C, C]."""
  how = ('scales', 'flip', 'average', 'upsample')
  return _jitted_count(net, mesh, **{key: eval_config[key] for key in how})


@functools.cache  # the stages of a run share it
def _jitted_count(net, mesh, scales, flip, average, upsample):
  one_view = tuple(scales) == (1.0,) and not flip
  if one_view:
    # The largest logit has the largest probability; to know it costs less.
    see = functools.partial(step.upsampled, net=net, upsample=upsample)
  else:
    see = functools.partial(
      probabilities,
      net=net,
      scales=scales,
      flip=flip,
      average=average,
      upsample=upsample,
    )

  def count(params, batch_stats, image, label):
    maps = see(params, batch_stats, image, size=label.shape[1:3])
    return metrics.confusion_matrix(
      jnp.argmax(maps, -1), label, net.num_classes
    )

  return jax.jit(count, out_shardings=sharding.replicated(mesh))


def count_all(
  count, params: dict, batch_stats: dict, batches: Iterable[dict], put
) -> tuple[np.ndarray, int]:
  """Sums the counts of all batches.

  Args:
    count: of make_count.
    params, batch_stats: the segmenter's.
    batches: of input.eval_batches.
    put: moves arrays to the devices.

  Returns:
    i64[C, C] and the number of images, both of all processes.
  """
  total, images = 0, 0
  for batch in batches:
    arrays = put({k: batch[k] for k in ('image', 'label')})
    counts = count(params, batch_stats, arrays['image'], arrays['label'])
    total = total + np.asarray(jax.device_get(counts), np.int64)
    images += int(batch['valid'].sum())
  return total, sharding.sum_of_processes(images)


def score_as(config, counts: np.ndarray, images: int) -> Scores:
  """Scores of an experiment's counts, in the classes and by its `eval`."""
  protocol = config.eval
  return score(
    counts, images, config.classes, protocol.classes, protocol.absent
  )


def define_flags() -> None:
  """The flags of this command line, which others may want too."""
  flags.DEFINE_string('workdir', None, 'Folder of the run, or RUN,RUN.')
  flags.DEFINE_list('mix', None, "The runs' weights; default: equal.")
  flags.DEFINE_string('weights', None, 'A PyTorch file to score instead.')
  flags.DEFINE_string('config', None, 'With --weights: a config page.')
  flags.DEFINE_string('checkpoint', 'latest', 'latest, best or a step.')
  flags.DEFINE_list('scales', None, 'Input scales that are averaged: 0.7,1.0.')
  flags.DEFINE_bool('flip', None, 'Average with the mirrored input, too.')
  flags.DEFINE_string('split', None, "Score this split instead of the run's.")
  flags.DEFINE_string('data_dir', None, 'Where prepared datasets are.')
  hosts.define_flags()


def evaluate_run(
  run, workdir: pathlib.Path, members: Sequence[dict] = ()
) -> Scores:
  """Scores a restored run as its config says, and writes what was found.

  Args:
    run: a runs.Run.
    workdir: its folder; `evaluation/` in it receives scores and figures.
    members: of ensemble.record, where the run is of ensemble.join.

  Raises:
    UserError: the scored data is not prepared, or another ensemble's scores are
      in the way; or `workdir` cannot be written; the table has been printed
      then.
  """
  from jaxuda import figures
  from jaxuda.input import experiment

  config, mesh = run.config, sharding.make_mesh()
  if config.eval.batch_size % mesh.size:
    # Padding is not counted, so that any batch size gives the same scores.
    config.eval.batch_size = mesh.size
  records = experiment.open_eval(config)
  how = {
    'step': run.step,
    'dataset': config.eval.name,
    'split': records.split,
    'scales': list(config.eval.scales),
    'flip': config.eval.flip,
    'average': config.eval.average,
    'upsample': config.eval.upsample,
    'absent': config.eval.absent,
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
  counts, images = count_all(
    make_count(run.net, config.eval, mesh),
    *variables,
    experiment.batches_of_eval(records, config),
    sharding.putter(mesh),
  )
  scores = score_as(config, counts, images)
  print(table({column: scores}))
  write_json(folder / 'scores.json', to_json(scores) | how)
  source = None
  try:
    source = experiment.open_streams(config, ['source'])['source'].records
  except UserError as e:
    print(f'entropy.png shows the target alone: {e}')
  figures.Painter(config, run.net, records).draw(
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
    ('average', 'probabilities'),
    ('upsample', 'logits'),
    ('absent', 'left_out'),
  ):
    if how[key] != default:
      parts.append(f'{key}={how[key]}')
  return '-'.join(parts)


def _open(extra, overrides):
  """The ensemble.Members, or the PyTorch file as one, that are asked for."""
  from jaxuda import runs, weights

  given = flags.FLAGS
  of_file = given.weights and given.config and given.checkpoint == 'latest'
  if of_file and not extra:
    path = pathlib.Path(given.weights)
    run, found = weights.load_segmenter(
      config_lib.load(given.config, overrides), path
    )
    if not found.complete:
      raise UserError(
        f'{path} cannot be scored: it lacks {len(found.fresh)} tensors, such as '
        f'{next(iter(found.fresh))}.'
      )
    workdir = pathlib.Path(given.workdir or f'runs/{path.stem}')
    [weight] = ensemble.weights(given.mix, 1)
    return [ensemble.Member(workdir, run, weight)]
  if extra or overrides or not given.workdir or given.weights or given.config:
    raise UserError(
      'usage: python -m jaxuda.evaluate --workdir=RUN[,RUN], or '
      '--weights=FILE --config=PAGE; --help.'
    )
  paths = ensemble.folders(given.workdir)
  mix = ensemble.weights(given.mix, len(paths))
  members = [
    ensemble.Member(path, runs.load(path, given.checkpoint), weight)
    for path, weight in zip(paths, mix, strict=True)
  ]
  if given.checkpoint == 'best':
    print('oracle-selected: this checkpoint was chosen by target labels.')
  return members


def _override(config) -> None:
  """Writes what the flags say of the evaluation into a run's config."""
  given = flags.FLAGS
  if given.scales:
    try:
      config.eval.scales = tuple(float(s) for s in given.scales)
    except ValueError as e:
      raise UserError(f'--scales takes numbers: {e}.') from e
    if not all(0.1 <= s <= 10 for s in config.eval.scales):
      raise UserError('--scales takes numbers from 0.1 to 10.')
  for name in ('flip', 'split'):
    if given[name].value is not None:
      config.eval[name] = given[name].value
  if given.data_dir:
    with config.ignore_type():
      config.data_dir = given.data_dir


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  define_flags()
  if '--help' in argv or '-h' in argv:
    app.usage(shorthelp=True, writeto_stdout=True)
    return 0
  argv, overrides = config_lib.split_overrides(argv)
  try:
    extra = flags.FLAGS(argv)[1:]
  except flags.Error as e:
    raise UserError(str(e)) from e
  hosts.join()
  compile_cache.enable()
  members = _open(extra, overrides)
  for member in members:
    _override(member.run.config)
  run = ensemble.join(members)
  with hosts.ends_with_its_peers():
    evaluate_run(run, members[0].path, ensemble.record(members))
  return 0


if __name__ == '__main__':
  exit_with_sentence(main, sys.argv)
