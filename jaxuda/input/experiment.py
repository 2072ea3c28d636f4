"""The data that an experiment's config names."""

from collections.abc import Iterator, Sequence

import jax

from jaxuda.input import pipeline
from jaxuda.input.augment import Augment
from jaxuda.input.records import Records, open_records


def open_inputs(
  config, names: Sequence[str]
) -> tuple[dict[str, pipeline.Stream], Records]:
  """All that a training reads: its streams, and what is scored.

  Raises:
    UserError: something is not prepared, lacks labels or cannot be batched.
  """
  streams = open_streams(config, names)
  pipeline.check_streams(streams, config.seed, jax.process_count())
  return streams, open_eval(config)


def open_streams(config, names: Sequence[str]) -> dict[str, pipeline.Stream]:
  """The training streams of those names; the target's has no labels."""
  streams = {}
  for name in names:
    s = config[name]
    streams[name] = pipeline.Stream(
      records=open_records(s.name, s.size, s.split, config.data_dir),
      space=None if name == 'target' else config.classes,
      augment=Augment(flip=s.flip, jitter=s.jitter, scale=s.scale, crop=s.crop),
      batch_size=s.batch_size,
    )
  return streams


def open_eval(config) -> Records:
  """The records that are scored."""
  e = config.eval
  records = open_records(e.name, e.size, e.split, config.data_dir)
  records.require_labels()
  return records


def batches_of_eval(records: Records, config) -> Iterator[dict]:
  """This process's batches of the scored records, in the model's classes."""
  return pipeline.eval_batches(
    records,
    space=config.classes,
    batch_size=config.eval.batch_size,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )
