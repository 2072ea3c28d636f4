"""Measure how label-free measures rank checkpoints and methods beside mIoU.

  python -m benchmarks.tables.label_free [--folder=runs/table]
    [--results=benchmarks/results]

Reads the finished runs in --folder, which `tables.measure` has left there, adds
them to <results>/label_free.json, and prints: Spearman's rank correlation of
each measure (jaxuda/evaluation/unlabelled.py) with the mIoU on the target's
labels, over the checkpoints of a run and, seed by seed, over the last
checkpoints of all configs that are scored on the same images; and what the
checkpoint that it would choose has over the last one.
"""

import collections
import json
import pathlib
import sys
from collections.abc import Iterable, Mapping

import numpy as np
from scipy import stats

from benchmarks.tables import results_file
from jaxuda.evaluation import scores as scores_lib
from jaxuda.reports import content
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError

# Of each measure, whether more of it is taken for better.
MEASURES = {
  'target/entropy': -1,
  'target/confident_share': 1,
  'target/flip_agreement': 1,
  'target/teacher_agreement': 1,
  'EnsV': 1,
  'source/mIoU': 1,
}


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = cli.Flags()
  command.text('folder', 'runs/table', 'Of the runs.')
  command.text('results', str(results_file.RESULTS), 'Of the JSON files.')
  if command.parse(argv, __doc__) is None:
    return 0
  path = pathlib.Path(command.values.results) / 'label_free.json'
  stored = json.loads(path.read_text()) if path.exists() else {'runs': {}}
  folders = pathlib.Path(command.values.folder).glob('*/scores.json')
  for run in content.read_all(sorted(file.parent for file in folders)):
    if any('target/entropy' in row for row in run.rows):
      stored['runs'][run.name] = _of_run(run)
  if not stored['runs']:
    raise UserError(
      f'--folder={command.values.folder} has no finished run with label-free '
      'measures: python -m benchmarks.tables.measure trains some.'
    )
  results_file.write(path, stored)
  print(markdown(correlations(stored['runs'].values())))
  return 0


def _of_run(run: content.RunContent) -> dict:
  """Return what is kept of a run: on what it is scored, and its series.

  A series is a measure and the mIoU, at the evaluations that have both.
  """
  config = run.config
  mious = dict(zip(*run.mious, strict=True)) if run.mious else {}
  series = {}
  for name in MEASURES:
    values = {row['step']: row[name] for row in run.rows if name in row}
    if name == 'EnsV':
      values = run.ensv
    both = [[values[step], mious[step]] for step in mious if step in values]
    if both:
      series[name] = both
  return {
    'measured': results_file.provenance(),
    'scored': [
      *(config.eval.name, config.eval.split),
      *(str(config.eval.size), config.classes),
    ],
    'seed': config.seed,
    'series': series,
  }


def correlations(runs: Iterable[dict]) -> dict[str, dict[str, list[float]]]:
  """Return what is found of each measure, a value for each run or seed.

  Args:
    runs: what is kept of each.

  Returns:
    A measure to 'checkpoints' and 'methods', rank correlations, and 'chosen',
    points of mIoU over the last checkpoint.
  """
  found = {}
  for name, sign in MEASURES.items():
    checkpoints, chosen = [], []
    ends: dict[tuple, list] = collections.defaultdict(list)
    for run in runs:
      if name not in run['series']:
        continue
      values, mious = np.array(run['series'][name]).T
      ends[*run['scored'], run['seed']].append((sign * values[-1], mious[-1]))
      if len(values) >= 3:
        checkpoints.append(_spearman(sign * values, mious))
        best = int(np.argmax(sign * values))
        chosen.append(100 * float(mious[best] - mious[-1]))
    methods = [
      _spearman(*map(np.array, zip(*pairs, strict=True)))
      for _, pairs in sorted(ends.items())
      if len(pairs) >= 3
    ]
    found[name] = {
      'checkpoints': [x for x in checkpoints if np.isfinite(x)],
      'methods': [x for x in methods if np.isfinite(x)],
      'chosen': chosen,
    }
  return found


def _spearman(a, b) -> float:
  if len(set(a)) < 2 or len(set(b)) < 2:
    return float('nan')  # no rank at all
  return float(stats.spearmanr(a, b).statistic)


def markdown(found: Mapping[str, Mapping[str, list[float]]]) -> str:
  """Return the table as the pages have it.

  Args:
    found: of `correlations`.
  """

  def cell(values):
    if not values:
      return ''
    mean, deviation = np.mean(values), scores_lib.deviation(values)
    return f'{mean:.2f} ± {deviation:.2f}' if len(values) > 1 else f'{mean:.2f}'

  text = [
    '| measure | over checkpoints | runs | over methods | seeds | chosen |',
    '|---|---|---|---|---|---|',
  ]
  for name, kinds in found.items():
    better = 'less of ' if MEASURES[name] < 0 else ''
    checkpoints, methods = kinds['checkpoints'], kinds['methods']
    chosen = kinds['chosen'] and scores_lib.plus_minus(kinds['chosen'], '+')
    text.append(
      f'| {better}`{name}` | {cell(checkpoints)} | {len(checkpoints)} | '
      f'{cell(methods)} | {len(methods)} | {chosen or ""} |'
    )
  return '\n'.join(text)


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
