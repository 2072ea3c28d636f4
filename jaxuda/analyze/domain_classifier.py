"""Can label maps be told apart by their domain? (ACCV 2020, Fig. 1)

  python -m jaxuda.analyze domain_classifier
  python -m jaxuda.analyze domain_classifier \\
    --config=configs/source_only.py:gta5

A ResNet-18 learns to tell the domain of ground-truth label maps: of whole ones,
and of random square patches. Maps are resized (nearest) to --size before and
after cropping, so that a patch fills the classifier's field. It is trained by
SGD with momentum 0.9, weight decay 1e-4 and the constant --lr. Shown is the
error on maps that were not trained on, every --every iterations, as mean and
standard deviation over --runs. Where small patches cannot be told apart but
whole maps can, it is patches that are worth aligning. How small the error of
small patches can become follows from the class frequencies alone: a line shows
the lowest error achievable from a single pixel.

The paper has 500 + 500 maps for validation, 512x1024 pixels and patches of 512,
256, 128 and 64. It leaves these open, which are flags:

--encoding: one_hot, a channel for each class, is what the softmax maps are that
  a discriminator sees, and invents no order of the classes, as ids would.
--void: what has no class differs by dataset for reasons of labelling, such as
  the bonnet in each Cityscapes map, and alone tells whole maps apart. What is
  aligned in training are predictions, which have a class everywhere. filled
  gives each such pixel the class of the nearest labelled one; class is the
  literal map, with one class more.
--batch_size, --iterations and --width. The classifier starts from random
  weights, as no pretrained file takes label maps.
"""

import pathlib
import time
from collections.abc import Sequence

import numpy as np
from absl import flags

from jaxuda.analyze import _classifier, _common, _label_maps
from jaxuda.datasets import prepare, specs, stored
from jaxuda.evaluation.scores import plus_minus
from jaxuda.figures import charts
from jaxuda.utils import cli
from jaxuda.utils.console import duration
from jaxuda.utils.errors import UserError

WHOLE = 'whole map'

# The defaults of flags: as published, and for streets, which is small.
_PUBLISHED = {
  'size': '512x1024',
  'width': 64,
  'batch_size': 8,
  'iterations': 3000,
  'every': 100,
}
_STREETS = {
  'size': '96x192',
  'width': 16,
  'batch_size': 4,
  'iterations': 200,
  'every': 40,
}


def define_flags(command: cli.Flags) -> None:
  """Define the flags of this analysis."""
  _common.define_pair_flags(command)

  def text(name):
    return f'default: {_PUBLISHED[name]}, and {_STREETS[name]} for streets.'

  command.text('size', None, f'HxW of what is seen; {text("size")}')
  command.list(
    'patches',
    None,
    'Sides of the patches; default: the height of --size, a half, a quarter '
    'and an eighth of it. Whole maps are always there.',
  )
  command.enum('encoding', 'one_hot', _label_maps.ENCODINGS, 'See above.')
  command.enum('void', 'filled', _label_maps.VOIDS, 'See above.')
  for name, help_text in (
    ('width', 'Channels of the first layers, 64 as published'),
    ('batch_size', 'Maps of each domain in a step'),
    ('iterations', 'Steps of each training'),
    ('every', 'Steps between two validations'),
  ):
    command.integer(name, None, f'{help_text}; {text(name)}', lower_bound=1)
  command.number('lr', 1e-3, 'Learning rate.')
  command.integer('runs', 3, 'Trainings, of different seeds.', 1)
  command.integer(
    'holdout',
    500,
    'Validation maps of a domain: its val split, or random ones of train '
    'that are not trained on; fewer if there are fewer.',
    lower_bound=1,
  )


def run(given: flags.FlagValues, output: pathlib.Path) -> str:
  """Train all classifiers; see the package."""
  pair = _common.find_pair(given)
  streets = pair.names[0].startswith('streets')
  defaults = _STREETS if streets else _PUBLISHED
  for name, value in defaults.items():
    if given[name].value is None:
      given[name].value = value
  size = specs.parse_size(given.size)
  if size is None:
    raise UserError('--size must be HxW, such as 512x1024.')
  looks = {
    _name(patch): _label_maps.Look(
      size, patch, pair.space, given.encoding, given.void
    )
    for patch in (None, *_patches(given.patches, size))
  }
  domains = [_split(pair, i, given.holdout) for i in (0, 1)]
  pixel = 100 * _classifier.error_of_one_pixel(
    looks[WHOLE], domains, given.batch_size
  )
  errors = _train_all(looks, domains, given)
  at = _classifier.validated(given.iterations, given.every)
  rows = [
    (name, seed, iteration, error)
    for name, of_runs in errors.items()
    for seed, of_run in enumerate(of_runs)
    for iteration, error in zip(at, of_run, strict=True)
  ]
  _common.write_csv(
    output / 'domain_classifier.csv',
    ('seen', 'run', 'iteration', 'error'),
    rows,
  )
  charts.curves(
    output / 'domain_classifier.png',
    {
      name: charts.Curve(at, 100 * np.transpose(of_runs))
      for name, of_runs in errors.items()
    },
    xlabel='iterations',
    ylabel='validation error, %',
    levels={'chance': [50.0], 'one pixel, at best': [pixel]},
    ordered=True,
    bottom=0,
  )
  counts = [len(maps.val_indices) for maps in domains]
  return _sentence(pair, errors, at[-1], counts, pixel)


def _patches(texts: Sequence[str] | None, size) -> list[int]:
  if texts is None:
    return [size[0] // n for n in (1, 2, 4, 8) if size[0] >= n]
  if not all(t.isdecimal() and 1 <= int(t) <= min(size) for t in texts):
    raise UserError(
      f'--patches takes whole numbers from 1 to {min(size)}, the smaller side '
      f'of --size, not {",".join(texts)!r}.'
    )
  return sorted({int(t) for t in texts}, reverse=True)


def _name(patch: int | None) -> str:
  return WHOLE if patch is None else f'patches of {patch}'


def _split(pair: _common.Pair, i: int, holdout: int) -> _classifier.Maps:
  """Return a domain's maps for training, and those for validation."""
  name, size = pair.names[i], pair.sizes[i]
  train = pair.open(i, 'train')
  everything = np.random.default_rng(0).permutation(len(train))
  if 'val' in stored.lengths(prepare.ensure(name, size, pair.data_dir)):
    val = pair.open(i, 'val')
    chosen = np.random.default_rng(0).permutation(len(val))[:holdout]
    return _classifier.Maps(train, everything, val, np.sort(chosen))
  if len(train) <= holdout:
    raise UserError(
      f'{name} has {len(train)} maps and no val split: --holdout={holdout} '
      'leaves none to train on.'
    )
  held = np.sort(everything[:holdout])
  return _classifier.Maps(train, everything[holdout:], train, held)


def _train_all(looks, domains, given) -> dict[str, list[list[float]]]:
  """{name of a look: [the errors of each run]}; prints how far it is."""
  names = ('width', 'lr', 'batch_size', 'iterations', 'every')
  settings = {name: given[name].value for name in names}
  errors, start = {}, time.monotonic()
  for name, look in looks.items():
    errors[name] = []
    for seed in range(given.runs):
      found = _classifier.train(look, domains, seed=seed, **settings)
      errors[name].append(found)
      passed = duration(time.monotonic() - start)
      print(
        f'{name}, run {seed + 1} of {given.runs}: error '
        f'{found[-1]:.1%} ({passed})',
        flush=True,
      )
  return errors


def _sentence(pair, errors, iterations, counts, pixel) -> str:
  last = {
    name: [100 * of_run[-1] for of_run in of_runs]
    for name, of_runs in errors.items()
  }
  listed = ', '.join(f'{n} {plus_minus(v)}' for n, v in last.items())
  # Two standard errors of a rate of 1/2, in points: what these maps resolve.
  noise = 100 * np.sqrt(sum(0.25 / n for n in counts))
  near = [n for n, v in last.items() if np.mean(v) > 50 - noise]
  verdict = 'all are told apart better than that'
  if near:
    verdict = f'no better than chance: {", ".join(near)}'
  return (
    f'{pair.names[0]} or {pair.names[1]}? Error in % after {iterations} '
    f'iterations: {listed}. Chance is 50 ± {noise:.0f} with {counts[0]} + '
    f'{counts[1]} maps; {verdict}. The class of a single pixel, the limit of '
    f'small patches, gives {pixel:.1f} at best.'
  )
