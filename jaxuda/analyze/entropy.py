"""Entropy of the predictions of runs, as maps and in numbers (001, Fig. 6).

  python -m jaxuda.analyze entropy --workdirs=runs/before,runs/after

The figure shows --images of both domains, evenly spread over their splits, and
each run's entropy of them. The table has, for each image of the scored split
and each class of its labels ('ignored', 'labelled' for all but those, and 'all'),
the mean entropy of the pixels and the share of them that is predicted right,
where they have a label. Entropy is divided by log C: 1 is
where all classes are equally likely. Probabilities are those of the run's own
evaluation, at the labels' size.

Adversarial and entropy-minimising methods make predictions certain; only the
share of right ones tells whether they are certain for a reason.
"""

import functools
import itertools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from jaxuda import experiment
from jaxuda import input as input_lib
from jaxuda.analyze import _common
from jaxuda.evaluation import figure_writer, inference
from jaxuda.figures import segmentation
from jaxuda.input import inputs
from jaxuda.labels import IGNORE
from jaxuda.models.segmenter import Segmenter
from jaxuda.utils import cli, sharding
from jaxuda.utils.errors import UserError

Array = jax.Array

_UNKNOWN = ('ignored', 'all')  # whether these are predicted right


def define_flags(command: cli.Flags) -> None:
  """The flags of this experiment."""
  _common.define_run_flags(command)
  command.integer(
    'images',
    2,
    'How many images of each domain the figure shows.',
    lower_bound=1,
  )


def run(given: flags.FlagValues, output: pathlib.Path) -> str:
  """Measures each run and draws the maps; see the package."""
  loaded = _common.load_runs(given)
  first = next(iter(loaded.values()))
  records = inputs.open_eval(first.config)
  names = (*first.space.classes, 'ignored', 'labelled', 'all')
  rows, totals = [], {}
  for title, one in loaded.items():
    total = 0
    for name, sums in measure(one, records):
      pixels, entropy, right = sums.T
      right = np.where([n in _UNKNOWN for n in names], np.nan, right)
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
    parts.append(
      f'{title} {entropy / pixels:.3f} ({100 * right / pixels:.1f} % right)'
    )
  return (
    f'mean entropy / log C of the labelled pixels of {records.name} '
    f'{records.split}: {", ".join(parts)}. Lower is more certain, not more '
    'often right.'
  )


def measure(one: experiment.Run, records: input_lib.Records):
  """Yields each image's name and its sums, of one run.

  Args:
    one: the run.
    records: the scored split.

  Yields:
    (name, f64[C + 3, 3]): pixels, their entropy, and how many are right, of
    each class, of what is ignored, of all but that, and of all.
  """
  config, mesh = one.config, sharding.make_mesh()
  config.eval.batch_size = -(-config.eval.batch_size // mesh.size) * mesh.size
  variables = jax.device_put(
    (one.params, one.batch_stats), sharding.replicated(mesh)
  )
  how = ('scales', 'flip', 'average', 'upsample')
  compute = jax.jit(
    functools.partial(
      image_sums, net=one.net, **{key: config.eval[key] for key in how}
    ),
    out_shardings=sharding.replicated(mesh),
  )
  put = sharding.shard_batch(mesh)
  for batch in inputs.batches_of_eval(records, config):
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
  **protocol,
) -> Array:
  """Pixels, entropy and right predictions by image and class.

  Args:
    params, batch_stats: the segmenter's.
    image: u8[B, H, W, 3].
    label: u8[B, h, w], 255 where ignored.
    net: the segmenter.
    protocol: scales, flip and more of inference.probabilities.

  Returns:
    f32[B, C + 1, 3] sums; ignored pixels are the last class.
  """
  p = inference.probabilities(
    params, batch_stats, image, net=net, size=label.shape[1:3], **protocol
  )
  entropy = jax.scipy.special.entr(p).sum(-1) / math.log(net.num_classes)
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
  domains = [[], figure_writer.examples(records, first.classes, count)]
  try:
    source = inputs.open_streams(first, ['source'])['source'].records
    domains[0] = figure_writer.examples(source, first.classes, count)
  except UserError as e:
    print(f'the figure shows the target alone: {e}')
  images = [[example.image for example in domain] for domain in domains]
  maps = {
    title: tuple([_map(one, image) for image in domain] for domain in images)
    for title, one in loaded.items()
  }
  segmentation.entropy_figure(path, *images, maps)


def _map(one, image):
  """f32[H, W]: the entropy of what one pass predicts, at the image's size."""
  compute = inference.jitted_probabilities(one.net, one.config.eval.upsample)
  p = compute(one.params, one.batch_stats, image[None], size=image.shape[:2])
  return segmentation.entropy(jax.device_get(p[0]))
