"""Entropy of the predictions of runs, as maps and numbers (ACCV 2020, Fig. 6).

  python -m jaxuda.analyze entropy --workdirs=runs/before,runs/after

The figure shows --images of both domains, evenly spread over their splits, and
each run's entropy of them. The table has a row for each image of the scored
split and each class of its labels, one for its 'ignored' pixels, one for those
that are 'labelled' and one for 'all' of them: their mean entropy, and the share
that is predicted right, where there are labels. Entropy is divided by log C: it
is 1 where all classes are equally likely. Probabilities are those of the run's
own evaluation, at the labels' size.

Adversarial and entropy-minimising methods make predictions certain; only the
share of right ones tells whether that is justified.
"""

import functools
import itertools
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from jaxuda import experiment
from jaxuda import input as input_lib
from jaxuda.analyze import _common
from jaxuda.evaluation import figure_writer, inference
from jaxuda.figures import segmentation
from jaxuda.input import from_config
from jaxuda.labels import IGNORE
from jaxuda.models.segmenter import Segmenter
from jaxuda.utils import cli, sharding, xla
from jaxuda.utils.errors import UserError

Array = jax.Array

_WITHOUT_LABEL = ('ignored', 'all')  # of which no share can be right


def define_flags(command: cli.Flags) -> None:
  """Define the flags of this analysis."""
  _common.define_run_flags(command)
  command.integer(
    'images',
    2,
    'How many images of each domain the figure shows.',
    lower_bound=1,
  )


def run(given: flags.FlagValues, output: pathlib.Path) -> str:
  """Measure each run and draw the maps; see the package."""
  loaded = _common.load_runs(given)
  first = next(iter(loaded.values()))
  records = from_config.open_eval(first.config)
  names = (*first.space.classes, 'ignored', 'labelled', 'all')
  rows, totals = [], {}
  for title, one in loaded.items():
    total = 0
    for name, sums in measure(one, records):
      pixels, entropy, right = sums.T
      right = np.where([n in _WITHOUT_LABEL for n in names], np.nan, right)
      with np.errstate(invalid='ignore'):
        means = zip(
          names,
          pixels.astype(int),
          entropy / pixels,
          right / pixels,
          strict=True,
        )
      for cells in means:
        if cells[1]:
          rows.append((title, name, *cells))
      total = total + sums
    totals[title] = total
  _common.write_csv(
    output / 'entropy.csv',
    ('run', 'image', 'class', 'pixels', 'entropy', 'right'),
    rows,
  )
  _draw(output / 'entropy.png', loaded, records, given.images)
  parts = []
  for title, total in totals.items():
    pixels, entropy, right = total[names.index('labelled')]
    if not pixels:
      raise UserError(f'{records.name} {records.split} has no labelled pixel.')
    parts.append(f'{title} {entropy / pixels:.3f} ({right / pixels:.1%} right)')
  return (
    f'mean entropy / log C of the labelled pixels of {records.name} '
    f'{records.split}: {", ".join(parts)}. Lower is more certain, not more '
    'often right.'
  )


def measure(
  one: experiment.Run, records: input_lib.Records
) -> Iterator[tuple[str, np.ndarray]]:
  """Yield what a run predicts of each image of a split, summed up.

  Args:
    one: the run.
    records: the scored split.

  Yields:
    The image's name, and f64[C + 3, 3]: pixels, their entropy, and how many are
    right, of each class, of what is ignored, of all but that, and of all.
  """
  config, mesh = one.config, sharding.make_mesh()
  config.eval.batch_size = _common.eval_batch_size(config, mesh)
  variables = jax.device_put(
    (one.params, one.batch_stats), sharding.replicated(mesh)
  )
  compute = xla.jit(
    functools.partial(
      image_sums, net=one.net, **inference.protocol(config.eval)
    ),
    out_shardings=sharding.replicated(mesh),
  )
  put = sharding.shard_batch(mesh)
  for batch in from_config.batches_of_eval(records, config):
    arrays = put({k: batch[k] for k in ('image', 'label')})
    found = jax.device_get(compute(*variables, **arrays))
    for name, sums in itertools.compress(
      zip(batch['id'], found.astype(np.float64), strict=True), batch['valid']
    ):
      labelled = sums[:-1].sum(0)
      yield name, np.stack([*sums, labelled, labelled + sums[-1]])


def image_sums(
  params: dict,
  batch_stats: dict,
  image: Array,
  label: Array,
  *,
  net: Segmenter,
  **settings,
) -> Array:
  """Sum up pixels, their entropy and right predictions by image and class.

  Args:
    params, batch_stats: the segmenter's.
    image: u8[B, H, W, 3].
    label: u8[B, h, w], 255 where ignored.
    net: the segmenter.
    settings: scales, flip and more of inference.probabilities.

  Returns:
    f32[B, C + 1, 3]; ignored pixels are the last class.
  """
  p = inference.probabilities(
    params, batch_stats, image, net=net, size=label.shape[1:3], **settings
  )
  entropy = inference.entropy(p)
  right = jnp.argmax(p, -1) == label
  values = jnp.stack([jnp.ones_like(entropy), entropy, right], -1)
  classes = jnp.where(label == IGNORE, net.num_classes, label).astype(jnp.int32)

  def of_image(values, classes):
    return jax.ops.segment_sum(
      values.reshape(-1, 3), classes.ravel(), net.num_classes + 1
    )

  return jax.vmap(of_image)(values, classes)


def _draw(path, loaded, records, count):
  first = next(iter(loaded.values())).config
  source = figure_writer.open_source(first)
  images = [
    [e.image for e in figure_writer.examples(domain, first.classes, count)]
    if domain is not None
    else []
    for domain in (source, records)
  ]
  maps = {
    title: tuple([_map(one, image) for image in domain] for domain in images)
    for title, one in loaded.items()
  }
  segmentation.entropy_figure(path, *images, maps)


def _map(one, image):
  """f32[H, W]: the entropy of what one pass predicts, at the image's size."""
  segment = inference.jitted_segment(one.net, one.config.eval.upsample)
  _, entropy = segment(one.params, one.batch_stats, image, size=image.shape[:2])
  return jax.device_get(entropy)
