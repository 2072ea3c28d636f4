"""Pseudo labels: a run's predictions on a split, written as a dataset."""

import pathlib
import shlex
import shutil
from typing import Any

import numpy as np
from PIL import Image

from jaxuda import experiment, labels
from jaxuda.datasets import builder, images, specs, stored
from jaxuda.evaluation import figure_writer
from jaxuda.figures import segmentation
from jaxuda.input import Records, open_records, predictions
from jaxuda.pseudo_labels import labeller, rules, statistics
from jaxuda.utils import guard, lock, signals
from jaxuda.utils import tensorflow as tf_lib
from jaxuda.utils.console import print0


def make(
  run: experiment.Run,
  records: Records,
  folder: pathlib.Path,
  chosen: dict[str, Any],
  workdir: pathlib.Path,
) -> None:
  """Write a split's images with pseudo labels, or wait for another process.

  Args:
    run: that predicts them.
    records: the split.
    folder: where they go; there is nothing yet, or what another process writes
      in the meantime.
    chosen: of rules.settings.
    workdir: the run's folder, for the command that makes them again.

  Raises:
    UserError: the folder cannot be written, or an image cannot be read. Then,
      and when the process is stopped, nothing is left behind.
  """
  tf_lib.import_tfds()  # before the handler of signals, which it can swallow
  root = folder.with_name(f'.{folder.name}.partial')
  command = _command(workdir, folder, records, run, chosen)
  waiting = f'{folder}: waiting for another process that makes it'
  with (
    signals.Unwinding() as stop,
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
  predicting = labeller.PseudoLabeller(run, records, chosen)
  print0(f'{records.name}: {len(records):,} images, rule {chosen["rule"]}')
  limits = predicting.thresholds()
  summary = statistics.Summary(predicting.num_classes)
  shown = dict.fromkeys(records.spread(run.config.num_log_images))
  ids = labels.stored_ids(run.space.name)
  entropies: list[float] = []
  present: list[list[str]] = []

  def generate(split):
    del split  # there is one
    for index, found in enumerate(predicting.labels(limits)):
      stop.check()
      label, keep = found['label'], found['keep']
      confidence = found['probability']
      summary.add(label, confidence, keep)
      entropies.append(float(found['entropy']))
      present.append([run.space.classes[c] for c in np.unique(label)])
      kept = np.where(keep, label, np.uint8(labels.IGNORE))
      if index in shown:
        shown[index] = (label, kept), confidence
      maps = {
        'label': ids[kept],
        'confidence': np.rint(255 * confidence).astype(np.uint8),
        'soft': found.get('soft'),
        'label_full': None,
      }
      yield records.parse(index) | {
        name: b'' if a is None else images.encode_label(Image.fromarray(a))
        for name, a in maps.items()
      }

  soft = bool(chosen.get('soft'))
  given = ('label', 'confidence', 'soft') if soft else ('label', 'confidence')
  folder = builder.write(
    records.name,
    records.size,
    root,
    stored.metadata(records.path).get('quality'),
    counts={records.split: len(records)},
    has={key: [records.split] for key in given},
    generate=generate,
    metadata={
      'encoding': labels.stored_encoding(run.space.name),
      'soft': predicting.num_classes if soft else 0,
      'pseudo': {
        'of': records.title,
        'classes': run.space.name,
        'step': run.step,
        'command': command,
        **chosen,
      },
    },
  )
  pixels = predicting.predicted
  if pixels is None:  # a rule without thresholds looks at each image once
    pixels = summary.predicted
  named = dict(zip(run.space.classes, pixels.tolist(), strict=True))
  predictions.write(folder, named, entropies, present)
  rows = summary.rows(run.space.classes, limits)
  statistics.write(folder, rows)
  print0(statistics.table(rows))
  _draw(folder / 'pseudo_labels.png', run, records, shown)
  return folder


def _draw(path, run, records, shown):
  """Draw a few images: predictions, what is kept, and the confidence."""
  examples = figure_writer.examples(
    records, run.space.name, run.config.num_log_images
  )
  indices = records.spread(run.config.num_log_images)
  segmentation.qualitative(
    path,
    [
      segmentation.Row(example.image, shown[i][0], None, shown[i][1])
      for i, example in zip(indices, examples, strict=True)
    ],
    ['prediction', 'pseudo label'],
    run.space,
    shade='confidence',
  )


def make_for(config, stream: str, folder: pathlib.Path) -> None:
  """Write the pseudo labels of a stream of a config, as the config says.

  Args:
    config: an experiment's; the stream and `pseudo` are read.
    stream: its name.
    folder: of stages.pseudo_label_dirs, in the folder of the run that predicts.
  """
  s, workdir = config[stream], folder.parents[1]
  chosen = rules.of_config(config.pseudo)
  records = open_records(s.name, s.size, s.split, config.data_dir)
  make(experiment.load(workdir), records, folder, chosen, workdir)


def _command(workdir, folder, records, run, chosen):
  """Return the command line that writes the folder again."""
  flags = {
    'workdir': workdir,
    'checkpoint': run.step,
    'network': run.network,
    'size': specs.size_name(records.size),
    'output': folder,
    **chosen,
  }
  arguments = ['python', '-m', 'jaxuda.pseudo_label']
  for key, value in flags.items():
    if key == 'input' and value:
      value = specs.size_name(value)
    if isinstance(value, tuple):
      value = ','.join(map(str, value))
    if value is not None:
      arguments.append(shlex.quote(f'--{key}={value}'))
  return ' '.join(arguments)
