"""The results tables of the README, from runs that may be interrupted.

  python -m benchmarks.streets_table
    [--table=methods|labels|patches|background|camvid] [--seeds=0,1,2]
    [--split=val|tune] [--jobs=N] [--folder=runs/table]
    [--results=benchmarks/results]

Trains every experiment of a table (rows.py) with every seed as its page says,
and the stages that it names before it, and writes <results>/<table>.json after
each. What that file has of the same settings is not measured again: to do that,
name another folder.
Nor are finished runs in --folder, and interrupted ones go on; another split
needs another folder. On a CPU several runs at a time (--jobs) use its cores
better than one.
"""

import concurrent.futures
import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from absl import app, flags

from benchmarks import rows, table_file
from jaxuda.config import loading as config_lib
from jaxuda.evaluation import scores as scores_lib
from jaxuda.training import stages
from jaxuda.training import workdir as workdir_lib
from jaxuda.utils.cli import run_cli
from jaxuda.utils.errors import UserError

RESULTS = pathlib.Path(__file__).parent / 'results'
CONTROL = 'AdaBN control'
CONTROLS = (CONTROL, 'AdaBN control, longer')

_TABLE = flags.DEFINE_enum('table', 'methods', list(rows.TABLES), '')
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Comma-separated.')
_SPLIT = flags.DEFINE_string('split', 'val', 'tune, to choose settings on.')
_JOBS = flags.DEFINE_integer('jobs', 1, 'Runs at a time.', lower_bound=1)
_FOLDER = flags.DEFINE_string('folder', 'runs/table', 'Where the runs go.')
_RESULTS = flags.DEFINE_string('results', str(RESULTS), 'Of the JSON files.')
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Prepared datasets.')


class Queue:
  """Runs that wait for the runs they start from, some at a time."""

  def __init__(self, jobs: int, run):
    """`run` trains the experiment of a spec."""
    self._run, self._started = run, {}
    own_cores = None
    if hasattr(os, 'sched_setaffinity'):  # Linux has it, macOS has not
      cores = sorted(os.sched_getaffinity(0))
      shares = [cores[i::jobs] or cores for i in range(jobs)]

      def own_cores():  # of a thread, and of the processes that it starts
        os.sched_setaffinity(0, shares.pop())

    self._pool = concurrent.futures.ThreadPoolExecutor(
      jobs, initializer=own_cores
    )

  def submit(self, spec: str, seed: str) -> concurrent.futures.Future:
    """Queues a run behind those that it starts from, each once."""
    spec = stages.page(spec, int(seed))
    if spec not in self._started:
      before = [self.submit(named, seed) for named in stages_of(spec)]

      def run():
        for stage in before:
          stage.result()
        return self._run(spec)

      self._started[spec] = self._pool.submit(run)
    return self._started[spec]

  def cancel(self) -> None:
    """Starts nothing more."""
    self._pool.shutdown(cancel_futures=True)


def stages_of(spec: str) -> list[str]:
  """The pages that an experiment names as its stages."""
  config = config_lib.load(spec)
  named = (config.init, config.source.labels, config.target.labels)
  return [name for name in named if stages.page(name, config.seed)]


def depth(spec: str) -> int:
  """How many runs there are before an experiment, one after the other."""
  return max((1 + depth(name) for name in stages_of(spec)), default=0)


def with_stages(specs: Iterable[str]) -> list[str]:
  """A row's experiments and all stages before them, each once."""
  found, to_do = {}, list(specs)
  while to_do:
    name = to_do.pop(0)
    if name not in found:
      found[name] = None
      to_do += stages_of(name)
  return list(found)


class Steps(NamedTuple):
  """How long a row trains.

  Attributes:
    network: from its first weights on, along `init`.
    total: of all that it takes, such as what makes its labels, too.
  """

  network: int
  total: int


def steps_of(specs: Sequence[str]) -> Steps:
  """Of a row; of an ensemble's networks the longest."""

  def along_init(spec):
    config = config_lib.load(spec)
    before = stages.page(config.init, config.seed) and config.init
    return config.steps + (along_init(before) if before else 0)

  total = sum(config_lib.load(name).steps for name in with_stages(specs))
  return Steps(max(map(along_init, specs)), total)


def workdir_of(spec: str) -> pathlib.Path:
  """Where stages.folder, too, looks for it."""
  return pathlib.Path(_FOLDER.value) / config_lib.run_name(spec)


def train(spec: str) -> float:
  """Trains an experiment unless that is done; its mIoU in percent.

  Raises:
    UserError: the folder has it of another split, or of other settings; it
      failed.
  """
  workdir = workdir_of(spec)
  overrides = [f'eval.split={_SPLIT.value}']
  if _DATA_DIR.value:
    overrides.append(f'data_dir={_DATA_DIR.value}')
  stored = config_lib.to_json(config_lib.load(spec, overrides))
  workdir_lib.check_config(workdir, stored, config_lib.MAY_CHANGE_ON_RESUME)
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


def ensemble(specs: Sequence[str]) -> float:
  """Scores several trained experiments as one; its mIoU in percent.

  Raises:
    UserError: that failed.
  """
  workdirs = [str(workdir_of(spec)) for spec in specs]
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
  """Percent."""
  return 100 * next(iter(json.loads(path.read_text())['means'].values()))


def miou_of(specs: Sequence[str], runs: Sequence) -> float:
  """The mIoU of a row once its runs are there: of one run or an ensemble."""
  found = [run.result() for run in runs]
  return ensemble(specs) if len(specs) > 1 else found[0]


def main(argv) -> None:
  del argv
  table = {
    title: [f'configs/{page}' for page in ([x] if isinstance(x, str) else x)]
    for title, x in rows.TABLES[_TABLE.value].items()
  }
  path = path_of(_TABLE.value)
  settings = {t: table_file.digest(with_stages(x)) for t, x in table.items()}
  results = table_file.kept(path, _TABLE.value, _SPLIT.value, settings)
  missing = {
    seed: {t: x for t, x in table.items() if seed not in results['miou'][t]}
    for seed in _SEEDS.value
  }
  queue = Queue(_JOBS.value, train)
  try:
    for seed, here in missing.items():
      # What others start from first, so that no job waits long.
      specs = with_stages(itertools.chain(*here.values()))
      for spec in sorted(specs, key=depth):
        queue.submit(spec, seed)
    waiting = [
      (seed, title, [queue.submit(spec, seed) for spec in here[title]])
      for seed, here in missing.items()
      for title in sorted(here, key=lambda title: max(map(depth, here[title])))
    ]
    for seed, title, runs in waiting:
      specs = [stages.page(spec, int(seed)) for spec in table[title]]
      miou = results['miou'][title][seed] = miou_of(specs, runs)
      print(f'{title}, seed {seed}: {miou:.1f}', flush=True)
      results['measured'][title][seed] = table_file.provenance()
      table_file.write(path, results)
  finally:
    queue.cancel()
  show(results['miou'], {name: steps_of(x) for name, x in table.items()})


def control_of(title: str, steps: dict[str, Steps]) -> str:
  """The control that has trained as long as a row's network, or nearly."""
  there = [control for control in CONTROLS if control in steps]
  length = steps[title].network
  return min(there, key=lambda c: abs(steps[c].network - length))


def path_of(table: str) -> pathlib.Path:
  """Where the results of a table are kept."""
  suffix = '' if _SPLIT.value == 'val' else f'-{_SPLIT.value}'
  return pathlib.Path(_RESULTS.value) / f'{table}{suffix}.json'


def show(table: dict[str, dict[str, float]], steps: dict[str, Steps]) -> None:
  """Prints a table of all seeds that were measured.

  The last column is a difference to the control of the same seed, which has the
  same weights and examples as far as the two trainings are the same. Of two
  controls it is the one that has trained as long as the network, or nearly.
  """
  print('| method | steps | in all | seeds | mIoU | over AdaBN |')
  print('|---|---|---|---|---|---|')
  for title, values in table.items():
    control = table[control_of(title, steps)]
    seeds = sorted(values, key=int)
    listed = ', '.join(f'{values[seed]:.1f}' for seed in seeds)
    miou = scores_lib.plus_minus([values[seed] for seed in seeds])
    both = [seed for seed in seeds if seed in control]
    over = scores_lib.plus_minus(
      [values[seed] - control[seed] for seed in both], '+'
    )
    network, total = steps[title]
    print(f'| {title} | {network} | {total} | {listed} | {miou} | {over} |')


if __name__ == '__main__':
  app.run(lambda argv: run_cli(main, argv))
