"""Measure how label-free measures rank checkpoints and methods beside mIoU.

  python -m benchmarks.tables.label_free [--folder=runs/table]
    [--results=benchmarks/results]

Reads the finished runs in --folder, which `tables.measure` has left there, and
writes <results>/label_free.json: Spearman's rank correlation of each measure
(jaxuda/evaluation/unlabelled.py) with the mIoU on the target's labels, over the
checkpoints of a run and, seed by seed, over the last checkpoints of all configs
that are scored on the same images; and what the checkpoint that it would choose
has over the last one.
"""

import collections
import pathlib
import sys

import numpy as np
from scipy import stats

from benchmarks.tables import results_file
from jaxuda.evaluation import scores as scores_lib
from jaxuda.reports import compare, content
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
  paths = sorted(pathlib.Path(command.values.folder).glob('*/scores.json'))
  runs = content.read_all([path.parent for path in paths])
  runs = [run for run in runs if any('target/entropy' in r for r in run.rows)]
  if not runs:
    raise UserError(
      f'--folder={command.values.folder} has no finished run with label-free '
      'measures: python -m benchmarks.tables.measure trains some.'
    )
  found = correlations(runs)
  path = pathlib.Path(command.values.results) / 'label_free.json'
  results_file.write(
    path,
    {
      'runs': [run.name for run in runs],
      'measured': results_file.provenance(),
      'measures': found,
    },
  )
  show(found)
  return 0


def correlations(runs) -> dict[str, dict[str, list[float]]]:
  """Return what is found of each measure, a value for each run or seed.

  Args:
    runs: finished ones.

  Returns:
    A measure to 'checkpoints' and 'methods', rank correlations, and 'chosen',
    points of mIoU over the last checkpoint.
  """
  groups = compare.group(runs)
  found = {}
  for name, sign in MEASURES.items():
    checkpoints, chosen = [], []
    ends: dict[tuple, list] = collections.defaultdict(list)
    for group in groups:
      for seed, run in group.runs.items():
        values, mious = _series(run, name)
        if not len(values):
          continue
        of = run.config.eval
        scored = (of.name, of.split, str(of.size), run.config.classes, seed)
        ends[scored].append((sign * values[-1], mious[-1]))
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


def _series(run, name):
  """Return a measure and the mIoU at the evaluations that have both."""
  mious = dict(zip(*run.mious, strict=True)) if run.mious else {}
  values = {row['step']: row[name] for row in run.rows if name in row}
  if name == 'EnsV':
    values = run.ensv
  both = [(values[step], mious[step]) for step in mious if step in values]
  return np.array(both).reshape(-1, 2).T


def _spearman(a, b) -> float:
  if len(set(a)) < 2 or len(set(b)) < 2:
    return float('nan')  # no rank at all
  return float(stats.spearmanr(a, b).statistic)


def show(found) -> None:
  """Print the table as the docs have it."""

  def cell(values):
    if not values:
      return ''
    mean, deviation = np.mean(values), scores_lib.deviation(values)
    return f'{mean:.2f} ± {deviation:.2f}' if len(values) > 1 else f'{mean:.2f}'

  print('| measure | over checkpoints | runs | over methods | seeds | chosen |')
  print('|---|---|---|---|---|---|')
  for name, kinds in found.items():
    better = 'less of ' if MEASURES[name] < 0 else ''
    checkpoints, methods = kinds['checkpoints'], kinds['methods']
    chosen = kinds['chosen'] and scores_lib.plus_minus(kinds['chosen'], '+')
    print(
      f'| {better}{name} | {cell(checkpoints)} | {len(checkpoints)} | '
      f'{cell(methods)} | {len(methods)} | {chosen or ""} |'
    )


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
