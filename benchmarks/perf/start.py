"""The first minute: what a user waits for at each command, warm.

  python -m benchmarks.perf.start [--config=configs/dacs.py:streets]
    [--rows=help,refused,first_step,ten_steps,evaluate,predict]
    [--against=DIR] [--rounds=3] [--data_dir=DIR] [--output=DIR] [--name=NAME]
    [--config.KEY=VALUE ...]

Seconds of processes, from their start: until the help is printed; until a key
that does not exist is refused; until the first step of a training is logged; of
10 steps with two evaluations, the figures and the report; of evaluating that
run; of predicting one photograph. The first round compiles: it is `cold`, and
no part of the medians. DIR is a clone at another commit, which takes turns with
this one.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import PIL.Image

from benchmarks.perf import common
from data.streets import render
from jaxuda.utils import cli
from jaxuda.utils.errors import UserError

ROWS = ('help', 'refused', 'first_step', 'ten_steps', 'evaluate', 'predict')
HERE = pathlib.Path(__file__).parents[2]


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.list('rows', list(ROWS), 'What is timed.')
  command.text('against', None, 'A clone at another commit.')
  command.integer('rounds', 3, 'Times that each is timed, warm.', lower_bound=1)
  command.text('data_dir', None, 'Of the prepared data; default: a new one.')
  command.text('name', 'start', 'Of the file of results.')
  common.define_output(command)
  return command


def commands(config: list[str], folder: pathlib.Path) -> dict[str, list[str]]:
  """Return each row's module and arguments.

  Args:
    config: flags of the training.
    folder: where the runs and the predictions go, and the photograph lies.
  """
  run = str(folder / 'ten_steps')
  return {
    'help': ['jaxuda.main', '--help'],
    'refused': ['jaxuda.main', *config, '--config.stepz=1'],
    'first_step': [
      'jaxuda.main',
      *config,
      f'--workdir={folder / "first_step"}',
      *('--config.steps=1', '--config.log_every=1', '--config.eval.name=None'),
    ],
    'ten_steps': [
      'jaxuda.main',
      *config,
      f'--workdir={run}',
      *('--config.steps=10', '--config.eval_every=5'),
    ],
    'evaluate': ['jaxuda.evaluate', f'--workdir={run}'],
    'predict': [
      'jaxuda.predict',
      f'--workdir={run}',
      f'--images={folder / "photo.png"}',
      f'--output={folder / "predicted"}',
    ],
  }


def seconds(
  row: str, command: list[str], tree: pathlib.Path, cache: pathlib.Path
) -> float:
  """Run one command to its end; return the seconds that its row counts.

  Args:
    row: one of ROWS.
    command: its module and arguments.
    tree: the clone whose code runs.
    cache: folder of its compiled programs.

  Raises:
    UserError: it ended with another status than its row's.
  """
  ours = {'PYTHONPATH': str(tree), 'XDG_CACHE_HOME': str(cache)}
  began = time.monotonic()
  child = subprocess.Popen(
    [sys.executable, '-m', *command],
    cwd=tree,
    env=os.environ | ours,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  first, said = None, []
  for line in child.stdout or ():
    said.append(line)
    if first is None and line.startswith('step ') and ' 1/' in line:
      first = time.monotonic() - began
  status, took = child.wait(), time.monotonic() - began
  if status != (2 if row == 'refused' else 0):
    raise UserError(f'{row} ended with status {status}: {"".join(said[-3:])}')
  if row != 'first_step':
    return took
  if first is None:
    raise UserError(f'{row} logged no step: {"".join(said[-3:])}')
  return first


def measure(
  rows: list[str],
  config: list[str],
  trees: dict[str, pathlib.Path],
  rounds: int,
  folder: pathlib.Path,
) -> dict[str, dict[str, list[float]]]:
  """Return {tree: {row: its seconds, of which the first is cold}}.

  Args:
    rows: of ROWS.
    config: flags of the training.
    trees: clones by name, which take turns.
    rounds: after the first one.
    folder: an empty one.
  """
  found: dict = {name: {row: [] for row in rows} for name in trees}
  for number in range(1 + rounds):
    for name, tree in trees.items():
      place = folder / name / str(number)
      place.mkdir(parents=True)
      photo, _ = render.render('city', 0, (192, 384), 'val')
      PIL.Image.fromarray(photo).save(place / 'photo.png')
      asked = commands(config, place)
      # In this order, as the last ones need the run of ten_steps.
      for row in (row for row in ROWS if row in rows):
        took = seconds(row, asked[row], tree, folder / name / 'cache')
        found[name][row].append(float(f'{took:.3g}'))
  return found


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  asked = common.parse(command, argv, __doc__, 'configs/dacs.py:streets')
  if asked is None:
    return 0
  given = command.values
  for row in given.rows:
    if row not in ROWS:
      raise UserError(f'--rows={row} is none of {", ".join(ROWS)}.')
    if row in ('evaluate', 'predict') and 'ten_steps' not in given.rows:
      raise UserError(f'--rows={row} needs the run of ten_steps beside it.')
  trees = {'here': HERE}
  if given.against:
    trees['against'] = pathlib.Path(given.against).resolve()
    if not (trees['against'] / 'jaxuda' / 'main.py').is_file():
      raise UserError(f'--against={given.against} is no clone of jaxuda.')
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    data_dir = pathlib.Path(given.data_dir or folder / 'data').resolve()
    config = [
      f'--config={asked.record["config"]}',
      *(f'--config.{override}' for override in asked.record['overrides']),
      f'--config.data_dir={data_dir}',
    ]
    found = measure(given.rows, config, trees, given.rounds, folder)
  medians = {
    name: {row: common.median(values[1:]) for row, values in rows.items()}
    for name, rows in found.items()
  }
  for row in given.rows:
    took = '  '.join(f'{name} {rows[row]} s' for name, rows in medians.items())
    print(f'{row:12}{took}')
  result = {'seconds_cold_then_warm': found, 'median_s': medians}
  print(common.write(given.name, asked.record | result, given.output))
  return 0


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
