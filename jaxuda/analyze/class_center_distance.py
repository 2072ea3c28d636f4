"""Class Center Distance of features, class by class (FADA, Eq. 9, Fig. 4).

  python -m jaxuda.analyze class_center_distance --workdirs=runs/a,runs/b

For class i with features S_i and centre mu_i,

  CCD(i) = mean over j != i of  V_i / |mu_i - mu_j|^2,
  V_i = 1/|S_i| sum over x in S_i of |x - mu_i|^2.

It is low where a class is tight, measured by its distance to the others: a
ratio, so that runs with features of different scale can be compared. x are the
features that the main head reads, each with the label of the pixel at its place
in the image; ignored pixels are left out, and so are, as i and as j, classes
without features.

One pass is exact: with n = |S_i|, s = sum x and q = sum |x|^2, mu = s/n and
V = q/n - |s/n|^2. A batch gives n, s and sum |x - m|^2 around its own mean m,
so that float32 loses nothing by cancellation; the batches'
q = sum |x - m|^2 + |s|^2 / n are added up in float64.

The paper picks 2,000 images of each domain and leaves open whether Eq. 9 takes
their features together. --domains=both does: V then grows with the distance
between the domains, too. The default is the target alone, where adaptation is
judged.
"""

import functools
import itertools
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from jaxuda import experiment
from jaxuda import input as input_lib
from jaxuda.analyze import _common
from jaxuda.figures import charts
from jaxuda.input import from_config
from jaxuda.labels import IGNORE
from jaxuda.models.segmenter import Segmenter
from jaxuda.utils import cli, sharding, xla
from jaxuda.utils.errors import UserError

Array = jax.Array

_HIGHEST = jax.lax.Precision.HIGHEST


class Moments(NamedTuple):
  """Sums over the features of each class, f64 on the host.

  Attributes:
    count: [C], n.
    total: [C, D], s.
    square: [C], q.
  """

  count: np.ndarray
  total: np.ndarray
  square: np.ndarray


def define_flags(command: cli.Flags) -> None:
  """Define the flags of this analysis."""
  _common.define_run_flags(command)
  command.enum(
    'domains',
    'target',
    ['target', 'source', 'both'],
    'Whose features: of the scored split, of the training source, of both.',
  )
  command.integer(
    'images',
    2000,
    'How many images of each domain, picked at random; all if there are fewer.',
    lower_bound=1,
  )
  command.integer('seed', 0, 'Of the pick.', lower_bound=0)


def run(given: flags.FlagValues, output: pathlib.Path) -> str:
  """Measure each run; see the package."""
  rows, found = [], {}
  loaded = _common.load_runs(given)
  for title, one in loaded.items():
    moments = measure(one, given.domains, given.images, given.seed)
    within, found[title] = distances(moments)
    rows += zip(
      itertools.repeat(title),
      one.space.classes,
      moments.count.astype(int),
      within,
      found[title],
    )
  _common.write_csv(
    output / 'class_center_distance.csv',
    ('run', 'class', 'features', 'within', 'ccd'),
    rows,
  )
  charts.bars(
    output / 'class_center_distance.png',
    one.space.classes,
    found,
    ylabel='class center distance',
  )
  return _sentence(found, one, given)


def _sentence(found, one, given):
  where = {
    'target': f'{one.config.eval.name} {one.config.eval.split}',
    'source': f'{one.config.source.name} {one.config.source.split}',
  }
  where['both'] = f'{where["source"]} and {where["target"]} together'
  values = np.array(list(found.values()))
  there = np.isfinite(values).all(0)
  if not there.any():
    raise UserError(f'{where[given.domains]} shows fewer than two classes.')
  means = values[:, there].mean(1)
  listed = ', '.join(
    f'{title} {mean:.2f}' for title, mean in zip(found, means, strict=True)
  )
  text = (
    f'mean class center distance over the {there.sum()} classes of '
    f'{where[given.domains]}: {listed}'
  )
  if len(found) > 1:
    best = int(means.argmin())
    wins = (values[:, there].argmin(0) == best).sum()
    text += (
      f'; {list(found)[best]} is lowest (tightest), and in {wins} of '
      f'{there.sum()} classes'
    )
  return f'{text}.'


def measure(
  one: experiment.Run, domains: str, images: int, seed: int
) -> Moments:
  """Return the moments of a run's features, by one pass over its images.

  Args:
    one: the run.
    domains: 'target', 'source' or 'both'.
    images: at most this many of each domain.
    seed: of the pick.

  Raises:
    UserError: the data is not prepared or has no labels.
  """
  config, mesh = one.config, sharding.make_mesh()
  records = []
  if domains != 'source':
    records.append(from_config.open_eval(config))
  if domains != 'target':
    streams = from_config.open_streams(config, ['source'])
    records.append(streams['source'].records)
  batch_size = _common.eval_batch_size(config, mesh)
  variables = jax.device_put(
    (one.params, one.batch_stats), sharding.replicated(mesh)
  )
  compute = xla.jit(
    functools.partial(batch_moments, net=one.net),
    out_shardings=sharding.replicated(mesh),
  )
  put = sharding.shard_batch(mesh)
  total = Moments(0, 0, 0)
  for each in records:
    for batch in _picked(each, config.classes, batch_size, images, seed):
      found = jax.device_get(compute(*variables, **put(batch)))
      total = add(total, *found)
  return total


def _picked(records, space, batch_size, images, seed):
  """Batches of random images; what fills up the last one is ignored."""
  images = min(images, len(records))
  stream = input_lib.Stream(records, space, batch_size)
  batches = input_lib.train_batches({'images': stream}, seed=seed)
  for start in range(0, images, batch_size):
    batch = next(batches)['images']
    label = batch['label'].copy()
    label[images - start :] = IGNORE
    yield {'image': batch['image'], 'label': label}


def batch_moments(
  params: dict,
  batch_stats: dict,
  image: Array,
  label: Array,
  *,
  net: Segmenter,
) -> tuple[Array, Array, Array]:
  """Return a batch's n, s and squared distances from its own class means.

  Args:
    params, batch_stats: the segmenter's.
    image: u8[B, H, W, 3].
    label: u8[B, H, W], 255 where ignored.
    net: the segmenter.

  Returns:
    f32[C], f32[C, D] and f32[C].
  """
  variables = {'params': params, 'batch_stats': batch_stats}
  features = net.apply(variables, image, train=False).main_features
  label = label_of_cells(label, features.shape[1:3], net.align_corners)
  x = features.reshape(-1, features.shape[-1])
  return class_sums(x, label.ravel(), net.num_classes)


def class_sums(
  x: Array, label: Array, num_classes: int
) -> tuple[Array, Array, Array]:
  """Return each class's count, sum and squared distances from its mean.

  Args:
    x: f[N, D].
    label: u8[N], 255 where ignored.
    num_classes: C.

  Returns:
    f32[C], f32[C, D] and f32[C].
  """
  x = x.astype(jnp.float32)
  member = jax.nn.one_hot(label, num_classes)  # 255 is a member of none
  count = member.sum(0)
  total = jnp.matmul(member.T, x, precision=_HIGHEST)
  mean = total / jnp.maximum(count, 1)[:, None]
  centred = x - jnp.matmul(member, mean, precision=_HIGHEST)
  around = jnp.square(centred).sum(-1)
  return count, total, jnp.matmul(around, member, precision=_HIGHEST)


def label_of_cells(
  label: Array, size: tuple[int, int], align_corners: bool
) -> Array:
  """Return the labels at the places of features: u8[B, H, W] to u8[B, *size].

  Args:
    label: at the image's size.
    size: (h, w) of the features.
    align_corners: of the upsampling of logits, which says where the places are.
  """
  for axis, small in enumerate(size, 1):
    large = label.shape[axis]
    if align_corners:
      at = np.rint(np.linspace(0, large - 1, small))
    else:
      at = np.floor((np.arange(small) + 0.5) * large / small)
    label = label.take(at.astype(int), axis)
  return label


def add(
  moments: Moments, count: np.ndarray, total: np.ndarray, around: np.ndarray
) -> Moments:
  """Return the moments with those of a further batch; see `class_sums`."""
  n, s, around = (np.asarray(a, np.float64) for a in (count, total, around))
  square = around + np.square(s).sum(-1) / np.maximum(n, 1)
  return Moments(moments.count + n, moments.total + s, moments.square + square)


def distances(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
  """Return f64[C], V of Eq. 9, and CCD; NaN for a class without features."""
  there = moments.count > 0
  n, s, q = (a[there] for a in moments)
  centre = s / n[:, None]
  within = np.maximum(q / n - np.square(centre).sum(-1), 0)
  between = np.square(centre[:, None] - centre).sum(-1)
  np.fill_diagonal(between, np.inf)  # j != i
  with np.errstate(divide='ignore', invalid='ignore'):
    ratio = (within[:, None] / between).sum(-1) / (len(n) - 1)
  full = np.full((2, len(there)), np.nan)
  full[:, there] = within, ratio
  return full[0], full[1]
