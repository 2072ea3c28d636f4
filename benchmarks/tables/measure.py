"""Measure the results tables of the README, by runs that may be interrupted.

  python -m benchmarks.tables.measure
    [--table=methods|self_training|high_resolution|labels|patches|background|
    camvid|camvid_large] [--seeds=0,1,2] [--split=val|tune] [--jobs=N]
    [--folder=runs/table] [--results=benchmarks/results] [--data_dir=DIR]

Trains every row of a table (rows.py) with every seed, and the stages before it,
and writes <results>/<table>.json after each. What that file has of the same
settings is not measured again: to do that, name another folder.
Nor are finished runs in --folder, and interrupted ones go on; another split
needs another folder. On a CPU several runs at a time (--jobs) use its cores
better than one.
"""

import concurrent.futures
import functools
import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.tables import plan, results_file, rows
from benchmarks.tables.plan import Run, Steps
from jaxuda import config as config_lib
from jaxuda.evaluation import scores as scores_lib
from jaxuda.training import workdir as workdir_lib
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError

CONTROL = 'AdaBN control'
CONTROLS = (CONTROL, 'AdaBN control, longer')


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.enum('table', 'methods', list(rows.TABLES), 'Which rows.')
  command.list('seeds', ['0', '1', '2'], 'Comma-separated.')
  command.text('split', 'val', 'tune, to choose settings on.')
  command.integer('jobs', 1, 'Runs at a time.', lower_bound=1)
  command.text('folder', str(plan.FOLDER), 'Where the runs go.')
  command.text('results', str(results_file.RESULTS), 'Of the JSON files.')
  command.text('data_dir', None, 'Prepared datasets.')
  return command


class Queue:
  """Runs that wait for those that they go on from, some at a time."""

  def __init__(self, jobs: int, train: Callable[[Run], float]):
    """Start nothing yet.

    Args:
      jobs: how many run at a time.
      train: trains one of them.
    """
    self._train, self._started = train, {}
    own_cores = None
    if hasattr(os, 'sched_setaffinity'):  # Linux has it, macOS has not
      cores = sorted(os.sched_getaffinity(0))
      shares = [cores[i::jobs] or cores for i in range(jobs)]

      def own_cores():  # of a thread, and of the processes that it starts
        os.sched_setaffinity(0, shares.pop())

    self._pool = concurrent.futures.ThreadPoolExecutor(
      jobs, initializer=own_cores
    )

  def submit(self, run: Run) -> concurrent.futures.Future:
    """Queue a run behind those that it goes on from, each once.

    Also behind runs that were queued before and are stages of this one.
    """
    workdir = run.workdir
    if workdir not in self._started:
      for row in rows.before(run.row):
        self.submit(run.of(row))
      stages = plan.stage_of(run).all()
      before = [self._started[s] for s in stages if s in self._started]

      def train():
        for stage in before:
          stage.result()
        return self._train(run)

      self._started[workdir] = self._pool.submit(train)
    return self._started[workdir]

  def cancel(self) -> None:
    """Start nothing more."""
    self._pool.shutdown(cancel_futures=True)


def train(run: Run, split: str = 'val', data_dir: str | None = None) -> float:
  """Train a run unless that is done; return its mIoU in percent.

  Args:
    run: of a row.
    split: on which it and its stages are scored.
    data_dir: where prepared datasets are.

  Raises:
    UserError: the folder has it of another split, or of other settings; it
      failed.
  """
  workdir, overrides = run.workdir, run.overrides
  for key, value in config_lib.flatten(run.config).items():
    if key.endswith('eval.split') and value != split:
      overrides.append(f'{key}={split}')
  if data_dir:
    overrides.append(f'data_dir={data_dir}')
  spec = f'configs/{run.row.config}'
  stored = config_lib.to_json(config_lib.load(spec, overrides))
  workdir_lib.check_config(workdir, stored)
  command = [
    *(sys.executable, '-m', 'jaxuda.main'),
    *(f'--config={spec}', f'--workdir={workdir}'),
    *(f'--config.{override}' for override in overrides),
  ]
  if not (workdir / 'scores.json').exists():
    print(' '.join(command), flush=True)
    workdir.parent.mkdir(parents=True, exist_ok=True)
    with open(f'{workdir}.log', 'a') as log:
      status = subprocess.run(command, stdout=log).returncode
    if status:
      raise UserError(
        f'{workdir} ended with status {status}: see above and {workdir}.log.'
      )
  return first_mean(workdir / 'scores.json')


def ensemble(runs: Sequence[Run]) -> float:
  """Score several finished runs as one; return its mIoU in percent.

  Raises:
    UserError: that failed.
  """
  workdirs = [str(run.workdir) for run in runs]
  command = [
    *(sys.executable, '-m', 'jaxuda.evaluate'),
    f'--workdir={",".join(workdirs)}',
  ]
  done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
  if done.returncode:
    raise UserError(
      f'{" ".join(command)} ended with status {done.returncode}: see above.'
    )
  folder = done.stdout.strip().rpartition(': ')[2]
  return first_mean(pathlib.Path(folder) / 'scores.json')


def first_mean(path: pathlib.Path) -> float:
  """Return the first mean of a file of scores, in percent."""
  return 100 * next(iter(json.loads(path.read_text())['means'].values()))


def miou_of(runs: Sequence[Run], trained: Sequence) -> float:
  """Return the mIoU of a line once its runs are there: of one or an ensemble.

  Args:
    runs: of the line.
    trained: a Future of each.
  """
  found = [future.result() for future in trained]
  return ensemble(runs) if len(runs) > 1 else found[0]


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  given = command.values
  table = {t: rows.members(x) for t, x in rows.TABLES[given.table].items()}
  path = results_file.path_of(given.results, given.table, given.split)
  results = results_file.kept(path, given.table, given.split)
  folder = pathlib.Path(given.folder)
  missing = {
    seed: {t: x for t, x in table.items() if seed not in results['miou'][t]}
    for seed in given.seeds
  }
  queue = Queue(
    given.jobs,
    functools.partial(train, split=given.split, data_dir=given.data_dir),
  )
  try:
    for seed, title, runs, trained in submit(queue, missing, folder):
      miou = results['miou'][title][seed] = miou_of(runs, trained)
      print(f'{title}, seed {seed}: {miou:.1f}', flush=True)
      results['measured'][title][seed] = results_file.provenance()
      results_file.write(path, results)
  finally:
    queue.cancel()
  print(markdown(given.table, results['miou']))
  return 0


def submit(queue: Queue, missing: dict, folder: pathlib.Path) -> list[tuple]:
  """Queue what is missing, in an order in which no job waits long.

  Args:
    queue: which trains it.
    missing: a seed's titles, and the rows of each.
    folder: where the runs go.

  Returns:
    (seed, title, its runs, a Future of each), in the order of their ends.
  """

  def depth(run):
    return plan.stage_of(run).depth

  lines = []
  for seed, here in missing.items():
    everything = rows.with_before(itertools.chain(*here.values()))
    # What others go on from comes first.
    for run in sorted((Run(r, seed, folder) for r in everything), key=depth):
      queue.submit(run)
    runs = {t: [Run(r, seed, folder) for r in x] for t, x in here.items()}
    for title in sorted(runs, key=lambda title: max(map(depth, runs[title]))):
      futures = [queue.submit(run) for run in runs[title]]
      lines.append((seed, title, runs[title], futures))
  return lines


def control_of(title: str, steps: dict[str, Steps]) -> str:
  """Return the control that has trained as long as a network, or nearly.

  Args:
    title: of the network's row.
    steps: of all rows of the table.
  """
  there = [control for control in CONTROLS if control in steps]
  length = steps[title].network
  return min(there, key=lambda c: abs(steps[c].network - length))


class Line(NamedTuple):
  """A line of a table, of the seeds that were measured.

  Attributes:
    steps: that it trains.
    seeds: their mIoUs, in percent.
    miou: mean and deviation.
    over: of the difference to the control of the same seed, which has the same
      weights and examples as far as the two trainings are the same. Of two
      controls it is the one that has trained as long as the network, or nearly.
  """

  steps: Steps
  seeds: str
  miou: str
  over: str


def lines(table: str, miou: dict[str, dict[str, float]]) -> dict[str, Line]:
  """Return each title's line of a table; a title without a seed is left out.

  Args:
    table: its name.
    miou: a title's seeds to their mIoU, in percent.
  """
  steps = {
    title: plan.steps_of(rows.members(x))
    for title, x in rows.TABLES[table].items()
  }
  found = {}
  for title in steps:
    if not (values := miou.get(title)):
      continue
    control = miou.get(control_of(title, steps), {})
    seeds = sorted(values, key=int)
    both = [values[s] - control[s] for s in seeds if s in control]
    found[title] = Line(
      steps[title],
      ', '.join(f'{values[seed]:.1f}' for seed in seeds),
      scores_lib.plus_minus([values[seed] for seed in seeds]),
      scores_lib.plus_minus(both, '+') if both else '',
    )
  return found


def markdown(table: str, miou: dict[str, dict[str, float]]) -> str:
  """Return a table as the pages have it; see `lines`."""
  text = [
    '| method | steps | in all | seeds | mIoU | over AdaBN |',
    '|---|---|---|---|---|---|',
  ]
  text += [
    f'| {title} | {line.steps.network} | {line.steps.total} | {line.seeds} | '
    f'{line.miou} | {line.over} |'
    for title, line in lines(table, miou).items()
  ]
  return '\n'.join(text)


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
