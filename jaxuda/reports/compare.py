"""Runs side by side: seeds of one config together, configs by what differs."""

import dataclasses
import glob
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxuda import config as config_lib
from jaxuda import labels
from jaxuda.evaluation import scores as scores_lib
from jaxuda.figures import charts
from jaxuda.reports.content import RunContent
from jaxuda.utils import console, files
from jaxuda.utils.errors import UserError

_MOST_KEYS = 3  # that a name tells


@dataclasses.dataclass(frozen=True)
class Group:
  """The runs of one config, which differ in their seeds alone.

  Attributes:
    name: the config's, and the keys in which it differs from others of it.
    runs: by seed; of two with one seed the later folder.
  """

  name: str
  runs: dict[int, RunContent]

  @property
  def means(self) -> dict[int, float]:
    """The headline of each scored seed, in percent."""
    return {
      seed: 100 * run.scores.headline[1]
      for seed, run in self.runs.items()
      if run.scores and run.scores.images
    }

  def iou(self, name: str) -> float:
    """Return the mean IoU of a class over the seeds, in percent, or NaN."""
    values = [self.runs[seed].iou(name) for seed in self.means]
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float('nan')


def find(patterns: Sequence[str]) -> list[pathlib.Path]:
  """Return the runs that paths and globs name, each once, in order.

  Raises:
    UserError: a pattern names no run.
  """
  found: dict[pathlib.Path, None] = {}
  for pattern in patterns:
    paths = [
      pathlib.Path(path) for path in sorted(glob.glob(pattern, recursive=True))
    ]
    runs = [path for path in paths if (path / 'config.json').is_file()]
    if not runs:
      raise UserError(f'{pattern} names no run: no folder with a config.json.')
    found |= dict.fromkeys(path.resolve() for path in runs)
  return list(found)


def group(runs: Sequence[RunContent]) -> list[Group]:
  """Return the runs in groups of one config, in the order of the first ones."""
  by_identity: dict[str, dict[int, RunContent]] = {}
  for run in runs:
    key = json.dumps(_identity(run.config), sort_keys=True)
    by_identity.setdefault(key, {})[run.config.seed] = run
  members = list(by_identity.values())
  names = _names([next(iter(runs.values())).config for runs in members])
  return [
    Group(name, dict(sorted(runs.items())))
    for name, runs in zip(names, members, strict=True)
  ]


def _identity(config) -> dict[str, Any]:
  """Return all that makes the runs of one config; not the seed.

  A run that is gone on from counts for what it is, and not for its folder; so
  do classes of a file, of which each run has a copy of its own.
  """
  flat = config_lib.flatten(config_lib.to_json(config))
  kept = {}
  for key, value in flat.items():
    if key.rpartition('.')[2] == 'seed' or config_lib.may_change(key):
      continue
    if isinstance(value, str) and (
      pathlib.Path(value, 'config.json').is_file()
    ):
      start = config_lib.read_run(value)
      value = {'name': start.name, **_identity(start)}
    elif isinstance(value, str) and key.rpartition('.')[2] == 'classes':
      value = labels.space(value).identity
    kept[key] = value
  return kept


def _names(configs) -> list[str]:
  """Name configs: by their own name, and by what differs under one name."""
  flats = [_identity(config) for config in configs]
  names = []
  for config, flat in zip(configs, flats, strict=True):
    alike = [
      other
      for c, other in zip(configs, flats, strict=True)
      if c.name == config.name
    ]
    keys = [
      key
      for key in dict.fromkeys(k for other in alike for k in other)
      if len({json.dumps(other.get(key)) for other in alike}) > 1
    ]
    shown = [f'{key}={_short(flat.get(key))}' for key in keys[:_MOST_KEYS]]
    if len(keys) > _MOST_KEYS:
      shown.append(f'and {len(keys) - _MOST_KEYS} more')
    names.append(' '.join([config.name, *shown]))
  # Those that first differ in a key that is not told.
  return [
    f'{name} ({names[: i + 1].count(name)})' if names.count(name) > 1 else name
    for i, name in enumerate(names)
  ]


def _short(value) -> str:
  return value['name'] if isinstance(value, dict) else str(value)


def write(runs: Sequence[RunContent], output: pathlib.Path) -> bool:
  """Compare runs: print tables, and write CSV files and figures.

  Args:
    runs: finished or not; those without a score are named and left out.
    output: a folder for runs.csv, summary.csv, curves.png and classes.png.

  Returns:
    Whether one of them has a score; else nothing is written.

  Raises:
    UserError: the folder cannot be written.
  """
  for run in runs:
    if run.scores is None or not run.scores.images:
      print(f'{run.name}: {run.headline}')
  groups = [each for each in group(runs) if each.means]
  if not groups:
    return False
  print(_summary_table(groups))
  classes = _classes(groups)
  print(_class_table(groups, classes))
  files.check_writable(output)
  _write_csv(groups, classes, output)
  _draw(groups, classes, output)
  print(f'tables and figures: {output}')
  return True


def _classes(groups) -> list[str]:
  """Return the classes of all groups, in order."""
  return list(
    dict.fromkeys(
      name
      for each in groups
      for seed in each.means
      for name in each.runs[seed].scores.space.classes
    )
  )


def _over_first(each: Group, first: Group) -> str:
  """Return the difference to the first group, seed by seed."""
  both = [seed for seed in each.means if seed in first.means]
  if each is first or not both:
    return ''
  differences = [each.means[seed] - first.means[seed] for seed in both]
  return scores_lib.plus_minus(differences, '+')


def _numbered(groups) -> list[str]:
  return [f'[{i}]' for i in range(1, len(groups) + 1)]


def _summary_table(groups) -> str:
  first = groups[0]
  rows = []
  for number, each in zip(_numbered(groups), groups, strict=True):
    values = list(each.means.values())
    rows.append(
      (
        f'{number} {each.name}',
        ', '.join(map(str, each.means)),
        ', '.join(f'{value:.1f}' for value in values),
        scores_lib.plus_minus(values),
        _over_first(each, first),
      )
    )
  headline = _any_run(first).scores.headline[0]
  return console.table(
    ('config', 'seeds', 'of each', headline, 'over [1]'), rows
  )


def _any_run(each: Group) -> RunContent:
  return each.runs[next(iter(each.means))]


def _class_table(groups, classes) -> str:
  def cell(value):
    return 'n/a' if np.isnan(value) else f'{value:.1f}'

  rows = [
    (name, *(cell(each.iou(name)) for each in groups)) for name in classes
  ]
  return console.table(('IoU %, mean', *_numbered(groups)), rows)


def _write_csv(groups, classes, output) -> None:
  def number(value):
    return None if np.isnan(value) else round(value, 4)

  runs, summary = [], []
  for each in groups:
    for seed, mean in each.means.items():
      run = each.runs[seed]
      ious = [number(run.iou(name)) for name in classes]
      runs.append([run.workdir, each.name, seed, run.step, number(mean), *ious])
    values = list(each.means.values())
    summary.append(
      [
        each.name,
        len(values),
        number(float(np.mean(values))),
        number(scores_lib.deviation(values)),
        *(number(each.iou(name)) for name in classes),
      ]
    )
  headline = _any_run(groups[0]).scores.headline[0]
  files.write_csv(
    output / 'runs.csv',
    ['run', 'config', 'seed', 'step', headline, *classes],
    runs,
  )
  files.write_csv(
    output / 'summary.csv',
    ['config', 'seeds', headline, 'deviation', *classes],
    summary,
  )


def _draw(groups, classes, output) -> None:
  names = [
    f'{number} {each.name}'
    for number, each in zip(_numbered(groups), groups, strict=True)
  ]
  curves = {}
  for name, each in zip(names, groups, strict=True):
    logged = [each.runs[seed].mious for seed in each.means]
    known = [dict(zip(*pair, strict=True)) for pair in logged if pair]
    steps = sorted(set.intersection(*map(set, known))) if known else []
    if steps:
      values = [[100 * run[step] for run in known] for step in steps]
      curves[name] = charts.Curve(steps, values)
  if curves:
    charts.curves(
      output / 'curves.png', curves, xlabel='step', ylabel='mIoU, %'
    )
  charts.heat_map(
    output / 'classes.png',
    [[each.iou(name) for each in groups] for name in classes],
    rows=classes,
    columns=_numbered(groups),
    names=names,
  )
