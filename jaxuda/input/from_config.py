"""The data that an experiment's config names."""

import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import jax

from jaxuda import labels
from jaxuda.datasets import specs, stored
from jaxuda.input import pipeline, predictions
from jaxuda.input.augment import Augment
from jaxuda.input.order import RareClassSettings
from jaxuda.input.records import Records, open_pseudo_labels, open_records
from jaxuda.input.stream import Stream, check_streams
from jaxuda.utils.console import print0
from jaxuda.utils.errors import UserError


def open_inputs(
  config,
  names: Sequence[str],
  pseudo: Mapping[str, pathlib.Path | None] | None = None,
  resumed: bool = False,
) -> tuple[dict[str, Stream], Records | None]:
  """Open all that a training reads: its streams, and the scored records.

  The latter are None where nothing is scored (`eval.name`).

  Args:
    config: an experiment's.
    names: of the streams.
    pseudo, resumed: see `open_streams`.

  Raises:
    UserError: something is not prepared, lacks labels or cannot be batched.
  """
  for name in names:
    _check_pseudo(name, config[name], (pseudo or {}).get(name))
  streams = open_streams(config, names, pseudo, resumed)
  check_streams(streams, jax.process_count())
  if config.eval.name is None:
    return streams, None
  return streams, open_eval(config, resumed)


def open_streams(
  config,
  names: Sequence[str],
  pseudo: Mapping[str, pathlib.Path | None] | None = None,
  resumed: bool = False,
) -> dict[str, Stream]:
  """Open the training streams of those names.

  The target has no labels but pseudo labels.

  Args:
    config: an experiment's.
    names: of the streams.
    pseudo: a stream's name to the folder of its pseudo labels, None where it
      has none. As long as they are yet to be made, the stream has no labels and
      is sampled uniformly.
    resumed: whether a run goes on; see prepare.ensure.
  """
  streams = {}
  for name in names:
    s, folder = config[name], (pseudo or {}).get(name)
    labelled = name != 'target'
    made = folder is None or folder.is_dir()
    own = folder if made else None  # pseudo labels that are there
    if folder is None:
      records = _open(s, config, resumed)
    elif labelled := made:
      records = open_pseudo_labels(
        folder, s.name, s.size, s.split, config.classes
      )
    else:
      records = _open(s, config, resumed)
    streams[name] = Stream(
      records=records,
      # Nobody trusts the labels of the hard images: they are for their order.
      space=config.classes if labelled and not _is_hard(s) else None,
      augment=Augment(
        s.flip,
        s.jitter,
        s.scale,
        s.crop,
        s.max_class_share,
        _mined(s.mining, own, config.classes),
        s.mining.chance,
      ),
      batch_size=s.batch_size,
      shuffle=s.shuffle,
      part=own and predictions.select(own, **s.by_entropy),
      count=s.count,
      sampling=s.sampling if made else 'uniform',
      rare=RareClassSettings(**s.rare_class),
      margins=s.margins,
    )
  return streams


def _is_hard(settings):
  return settings.by_entropy.part == 'hard'


def _check_pseudo(name, settings, folder):
  """Refuse settings of pseudo labels in a stream that has none."""
  given = {
    'mining.share': settings.mining.share,
    'by_entropy.part': settings.by_entropy.part != 'all',
  }
  for key, is_given in given.items():
    if is_given and folder is None:
      raise UserError(
        f'config.{name}.{key} is of the predictions behind pseudo labels, and '
        f'there are none: set config.{name}.labels.'
      )


def _mined(mining, folder, space):
  """Return the indices of the classes on which crops are centred."""
  if folder is None or not mining.share:
    return ()
  classes = labels.space(space).classes
  return predictions.rare_classes(folder, classes, mining.share)


def open_eval(config, resumed: bool = False) -> Records:
  """Open the records that are scored.

  Args:
    config: an experiment's.
    resumed: see `open_streams`.

  Raises:
    UserError: they are not prepared, have no labels, or nothing is scored.
  """
  if config.eval.name is None:
    raise UserError(
      f'{config.name} was trained without labels of its target '
      '(config.eval.name=None). `python -m jaxuda.evaluate --dataset=NAME` '
      'scores it on labelled images, NAME a dataset or PATH.toml.'
    )
  records = _open(config.eval, config, resumed)
  records.require_labels()
  return records


def open_source_val(config, source: Records, resumed: bool) -> Records | None:
  """Open the source's validation split, None where it has none.

  None, too, where it is what is scored anyway.

  Args:
    config: an experiment's.
    source: the records that it trains on.
    resumed: see `open_streams`.
  """
  s = config.source
  if s.split == 'val' or s.name == config.eval.name:
    return None
  if 'val' not in stored.lengths(source.path):
    return None
  records = open_records(s.name, s.size, 'val', config.data_dir, resumed)
  return records if records.labelled else None


def _open(settings, config, resumed):
  records = open_records(
    settings.name, settings.size, settings.split, config.data_dir, resumed
  )
  _print_if_partial(records.name, records.split, len(records), records.path)
  return records


@functools.cache  # once in a run that has several stages
def _print_if_partial(spec, split, length, path):
  name, _ = specs.split_spec(spec)
  short = stored.shortfall(spec, {split: length})
  # What is rendered has no download of which a part could be missing.
  if short and specs.module(name).NEEDS_RAW:
    print0(
      f'{spec}, {split}: prepared from {length:,} of {short[split]:,} images '
      f'({path})'
    )


def batches_of_eval(
  records: Records, config, count: int | None = None, own: bool = False
) -> Iterator[dict]:
  """Read this process's share of the scored records, in the model's classes.

  Args:
    records: the split.
    config: an experiment's.
    count: of examples, spread evenly over the split; None for all.
    own: whether they are scored in the model's classes, not in `eval.classes`.
  """
  return pipeline.eval_batches(
    records,
    space=config.classes,
    scored_in=None if own else config.eval.classes,
    batch_size=config.eval.batch_size,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    count=count,
  )
