"""mIoU against the size of the aligned patches (ACCV 2020, Fig. 8a).

  python -m jaxuda.analyze patch_size --controls=runs/adabn-0,runs/adabn-1 \\
    --workdirs=runs/p32-0,runs/p32-1,runs/p64-0,runs/p64-1

It is read from the scores.json of finished runs of configs/advent_patch.py,
which differ in patch.size and seed; patch.size=None, the paper's global
baseline AGP-GI, is drawn last. Controls are finished runs of other configs,
such as AdaBN: a line for each method. Means and standard deviations (n - 1) are
over seeds.
"""

import itertools
import pathlib

import numpy as np
from absl import flags

from jaxuda import config as config_lib
from jaxuda.analyze import _common
from jaxuda.evaluation.scores import deviation, plus_minus
from jaxuda.figures import charts
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError

WHOLE = 'whole'
# What may differ between the runs of one figure without a note, in the stages
# before them, too; apart from what changes no number.
_FREE = ('patch.size', 'seed', 'init')


def define_flags(command: cli.Flags) -> None:
  """Define the flags of this analysis."""
  _common.define_workdirs(command)
  command.list(
    'controls', None, 'Folders of finished runs that are drawn as lines.'
  )


def run(given: flags.FlagValues, output: pathlib.Path) -> str:
  """Read and draw; see the package."""
  paths = _common.titles(given.workdirs)
  scores = _common.read_scores(given.workdirs)
  configs = {title: config_lib.read_run(path) for title, path in paths.items()}
  measured = {}
  for title, config in configs.items():
    if 'patch' not in config:
      raise UserError(
        f'{paths[title]} is a run of {config.method}, which has no patch.size: '
        'name it in --controls.'
      )
    seeds = measured.setdefault(config.patch.size or WHOLE, {})
    if config.seed in seeds:
      raise UserError(
        f'{paths[title]} has the patch.size and the seed of another run.'
      )
    seeds[config.seed] = 100 * scores[title].headline[1]
  _print_differences(configs)
  order = sorted(measured, key=lambda s: (s == WHOLE, s if s != WHOLE else 0))
  measured = {size: measured[size] for size in order}
  controls = {}
  if given.controls:
    controls = _read_controls(given.controls, configs, scores)
  metric = next(iter(scores.values())).headline[0]
  rows = [
    (name, seed, value / 100)
    for group in (measured, controls)
    for name, seeds in group.items()
    for seed, value in seeds.items()
  ]
  _common.write_csv(
    output / 'patch_size.csv', ('patch_size', 'seed', metric), rows
  )
  _draw(output / 'patch_size.png', measured, controls, metric)
  return _sentence(measured, controls, metric)


def _read_controls(workdirs, configs, scores):
  """Return {method: {seed: value}} of controls, which are scored alike."""
  paths = _common.titles(workdirs)
  theirs = {title: config_lib.read_run(path) for title, path in paths.items()}
  first = next(iter(configs.items()))
  found = {}
  read = _common.read_scores(workdirs, like=next(iter(scores.values())))
  for title, config in theirs.items():
    _common.check_same(
      dict([first, (title, config)]), ('eval.name', 'eval.split')
    )
    seeds = found.setdefault(config.method, {})
    if config.seed in seeds:
      raise UserError(
        f'{paths[title]} has the method and the seed of another control.'
      )
    seeds[config.seed] = 100 * read[title].headline[1]
  return found


def _print_differences(configs):
  """Note in which settings, other than patch.size and seed, the runs differ."""
  flat = [config_lib.flatten(config) for config in configs.values()]
  _common.check_same(configs, ('eval.name', 'eval.split', 'eval.classes'))
  for key in dict.fromkeys(itertools.chain(*flat)):
    values = {str(_common.comparable(c, key)) for c in configs.values()}
    if len(values) > 1 and not config_lib.may_change(key, _FREE):
      print(f'note: the runs differ in {key}, too: {", ".join(sorted(values))}')


def _draw(path, measured, controls, metric):
  places = list(range(len(measured)))
  charts.curves(
    path,
    {
      'random patches': charts.Curve(
        places, [list(seeds.values()) for seeds in measured.values()]
      )
    },
    xlabel='patch size, pixels',
    ylabel=f'{metric}, %',
    levels={name: list(seeds.values()) for name, seeds in controls.items()},
    ticks=dict(zip(places, map(str, measured), strict=True)),
  )


def _sentence(measured, controls, metric):
  values = {size: list(seeds.values()) for size, seeds in measured.items()}
  best = max(values, key=lambda size: np.mean(values[size]))
  listed = ', '.join(f'{s} {plus_minus(v)}' for s, v in values.items())
  seeds = sorted({len(v) for v in values.values()})
  text = (
    f'{metric} by patch size, {"-".join(map(str, seeds))} seed(s): {listed}; '
    f'best {best} (selected by target labels)'
  )
  rivals = {size: v for size, v in values.items() if size != best}
  if rivals:
    second = max(rivals, key=lambda size: np.mean(rivals[size]))
    text += f', {_compare(values[best], rivals[second], f"of {second}")}'
  for name, seeds in controls.items():
    value = list(seeds.values())
    against = f'of {name} ({plus_minus(value)})'
    text += f'; {_compare(values[best], value, against)}'
  return f'{text}.'


def _compare(best, other, name):
  """How far a mean is from another one, against the seeds' spread."""
  gap = np.mean(best) - np.mean(other)
  noise = np.hypot(deviation(best), deviation(other))
  if np.isnan(noise):
    return f'{gap:+.1f} points from that {name}, of unknown spread'
  verdict = 'within' if abs(gap) <= noise else 'beyond'
  return f"{gap:+.1f} points from that {name}, {verdict} the seeds' spread"
