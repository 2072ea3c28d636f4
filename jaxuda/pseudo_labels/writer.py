"""Pseudo labels: a run's predictions on a split, written as a dataset."""

import functools
import pathlib
import shlex
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxuda import experiment, labels
from jaxuda import input as input_lib
from jaxuda.datasets import builder, images, specs, stored
from jaxuda.evaluation import figure_writer, inference
from jaxuda.figures import segmentation
from jaxuda.input import Records, open_records
from jaxuda.pseudo_labels import rules, statistics
from jaxuda.utils import console, guard, lock, signals
from jaxuda.utils import tensorflow as tf_lib
from jaxuda.utils.console import print0

Array = jax.Array


def answer(
  params: dict,
  batch_stats: dict,
  image: Array,
  limits: Array,
  *,
  soft: float = 0.0,
  **asked,
) -> dict[str, Array]:
  """What the network says of one image, weighed by the classes' thresholds.

  Args:
    params, batch_stats: the segmenter's.
    image: u8[1, H, W, 3].
    limits: f32[C], the thresholds; ones where there are none yet.
    soft: LRENT's alpha, 0 for hard labels.
    asked: net, size, scales, flip and upsample of inference.probabilities.

  Returns:
    'label' u8[h, w], argmax_c p_c / limit_c; 'confidence' f32[h, w], p of that
    class; 'passes' bool[h, w], whether the label is one by the rule 'balanced';
    and where it is soft 'soft' u8[C h, w], in 255ths.
  """
  p = inference.probabilities(params, batch_stats, image, **asked)[0]
  ratio = p / limits
  label = jnp.argmax(ratio, -1)
  found = {
    'label': label.astype(jnp.uint8),
    'confidence': jnp.take_along_axis(p, label[..., None], -1)[..., 0],
    'passes': ratio.max(-1) >= 1,
  }
  if soft:
    # The regularised loss of the soft label is below that of the thresholds
    # (reg_score < sel_score in crst_seg.py) where -alpha log(sum) is negative.
    odds = ratio ** (1 / soft)
    total = odds.sum(-1)
    shares = jnp.round(255 * odds / total[..., None]).astype(jnp.uint8)
    shares = jnp.moveaxis(shares, -1, 0)
    found['passes'] = total > 1
    found['soft'] = shares.reshape(-1, shares.shape[-1])
  return found


@functools.cache  # a dataset is gone through several times
def _jitted(net, size, soft, scales, flip, upsample):
  return jax.jit(
    functools.partial(
      answer,
      net=net,
      size=size,
      soft=soft,
      scales=scales,
      flip=flip,
      upsample=upsample,
    )
  )


class _Labeller:
  """Asks a run about the images of one split, in their order."""

  def __init__(
    self, run: experiment.Run, records: Records, chosen: dict[str, Any]
  ):
    self.run, self.records, self.chosen = run, records, chosen
    self.classes = len(run.space.classes)
    self.variables = jax.device_put((run.params, run.batch_stats))

  def answers(
    self, title: str, limits: np.ndarray, soft: float = 0.0
  ) -> Iterator[dict[str, np.ndarray]]:
    """`answer` of each image, on the host."""
    how = (soft, *(self.chosen[k] for k in ('scales', 'flip', 'upsample')))
    limits = jax.device_put(np.asarray(limits, np.float32))
    with (
      input_lib.prefetch(self._images(), self._put) as ready,
      console.progress(title, len(self.records)) as advance,
    ):
      for size, image in ready:
        ask = _jitted(self.run.net, size, *how)
        yield jax.device_get(ask(*self.variables, image, limits))
        advance()

  def thresholds(self) -> np.ndarray:
    """f64[C] by the rule; goes through the images twice unless it is argmax."""
    passes = iter(('first pass', 'second pass'))
    unweighted = np.ones(self.classes)

    def go_through():
      for found in self.answers(next(passes), unweighted):
        yield found['label'], found['confidence']

    return rules.thresholds(go_through, self.classes, self.chosen)

  def labelled(self, limits: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """`answer` of each image with 'keep', bool[h, w]."""
    balanced = self.chosen['rule'] == 'balanced'
    weights = limits if balanced else np.ones(self.classes)
    soft = self.chosen.get('soft', 0.0)
    for found in self.answers('labels', weights, soft):
      reached = found['confidence'] >= limits[found['label']]
      yield found | {'keep': found['passes'] if balanced else reached}

  def _images(self):
    stream = input_lib.Stream(self.records, None, 1, shuffle=False)
    batches = input_lib.train_batches({'target': stream}, seed=0)
    for _ in range(len(self.records)):
      yield next(batches)['target']['image'][0]

  def _put(self, image):
    """Its own size, and the image at the size that the network sees."""
    seen = self.chosen['input'] or self.run.config.eval.size
    fitted = images.resize_image(Image.fromarray(image), seen)
    return image.shape[:2], jax.device_put(np.asarray(fitted)[None])


def make(
  run: experiment.Run,
  records: Records,
  folder: pathlib.Path,
  chosen: dict[str, Any],
  workdir: pathlib.Path,
) -> None:
  """Writes the images of a split with pseudo labels, or waits for who does.

  Args:
    run: that predicts them.
    records: the split.
    folder: where they go; there is nothing, or what another process makes now.
    chosen: of rules.settings.
    workdir: the run's folder, for the command that makes them again.

  Raises:
    UserError: the folder cannot be written, or an image cannot be read; then,
      as when it is stopped, nothing is left behind.
  """
  tf_lib.import_tfds()  # before the handler of signals, which it can swallow
  root = folder.with_name(f'.{folder.name}.partial')
  command = _command(workdir, folder, records, run.step, chosen)
  waiting = f'{folder}: waiting for another process that makes it'
  with (
    signals.StopSignal(unwind=True) as stop,
    guard.explained(folder.parent),
    guard.clean(folder),
    lock.hold(
      folder.with_name(f'.{folder.name}.lock'),
      lambda: print(waiting, flush=True),
    ),
  ):
    if specs.is_prepared(folder):
      return
    shutil.rmtree(root, ignore_errors=True)  # of a process that was killed
    try:
      _write(run, records, root, chosen, command, stop).rename(folder)
    finally:
      shutil.rmtree(root, ignore_errors=True)
  print0(f'pseudo labels: {folder}')


def _write(run, records, root, chosen, command, stop):
  """All files of a folder of pseudo labels; the folder, somewhere in `root`."""
  labeller = _Labeller(run, records, chosen)
  print0(f'{records.name}: {len(records):,} images, rule {chosen["rule"]}')
  limits = labeller.thresholds()
  summary = statistics.Summary(labeller.classes)
  shown = dict.fromkeys(
    figure_writer.spread(records, run.config.num_log_images)
  )
  ids = labels.stored_ids(run.space.name)

  def generate(split):
    del split  # there is one
    for index, found in enumerate(labeller.labelled(limits)):
      stop.check()
      label, keep, sure = found['label'], found['keep'], found['confidence']
      summary.add(label, sure, keep)
      kept = np.where(keep, label, np.uint8(labels.IGNORE))
      if index in shown:
        shown[index] = (label, kept), sure
      maps = {
        'label': ids[kept],
        'confidence': np.rint(255 * sure).astype(np.uint8),
        'soft': found.get('soft'),
        'label_full': None,
      }
      yield records.parse(index) | {
        name: b'' if a is None else images.encode_label(Image.fromarray(a))
        for name, a in maps.items()
      }

  folder = builder.write(
    records.name,
    records.size,
    root,
    stored.metadata(records.path).get('quality'),
    counts={records.split: len(records)},
    generate=generate,
    left_out=[],
    more={
      'encoding': 'cityscapes',
      'soft': labeller.classes if chosen.get('soft') else 0,
      'pseudo': {
        'of': records.title,
        'classes': run.space.name,
        'step': run.step,
        'command': command,
        **chosen,
      },
    },
  )
  rows = summary.rows(run.space.classes, limits)
  statistics.write(folder, rows)
  print0(statistics.table(rows))
  examples = figure_writer.examples(
    records, run.space.name, run.config.num_log_images
  )
  indices = figure_writer.spread(records, run.config.num_log_images)
  segmentation.qualitative(
    folder / 'pseudo_labels.png',
    [
      segmentation.Row(example.image, shown[i][0], None, shown[i][1])
      for i, example in zip(indices, examples, strict=True)
    ],
    ['prediction', 'pseudo label'],
    run.space,
    shade='confidence',
  )
  return folder


def make_for(config, stream: str, folder: pathlib.Path) -> None:
  """Makes the labels of a stream of a config with the run that it names.

  Args:
    config: an experiment's; reads the stream and `pseudo`.
    stream: its name.
    folder: of stages.pseudo_folders.
  """
  s, given = config[stream], config.pseudo.to_dict()
  chosen = rules.settings(given.pop('rule'), given)
  workdir = folder.parents[1]
  records = open_records(s.name, s.size, s.split, config.data_dir)
  make(experiment.load(workdir), records, folder, chosen, workdir)


def _command(workdir, folder, records, step, chosen):
  """The command line that makes a folder again."""
  parts = {
    'workdir': workdir,
    'checkpoint': step,
    'size': specs.size_name(records.size),
    'output': folder,
    **chosen,
  }
  words = ['python', '-m', 'jaxuda.pseudo_label']
  for key, value in parts.items():
    if key == 'input' and value:
      value = specs.size_name(value)
    if isinstance(value, tuple):
      value = ','.join(map(str, value))
    if value is not None:
      words.append(shlex.quote(f'--{key}={value}'))
  return ' '.join(words)
