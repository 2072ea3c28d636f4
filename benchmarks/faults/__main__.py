"""Try the fault matrix: what a hostile machine or user does to real commands.

  python -m benchmarks.faults [--kinds=KIND,KIND] [--counts=KIND=N,KIND=N]
    [--seed=0] [--folder=DIR] [--results=benchmarks/results]

Prints a line for each try that goes wrong, and a table at the end, which also
goes into <results>/faults.json. Exit status 1 where something went wrong.
"""

import collections
import contextlib
import importlib
import json
import pathlib
import random
import sys
import tempfile
import time

from benchmarks.faults import subjects
from benchmarks.tables import results_file
from jaxuda.utils import cli, console
from jaxuda.utils.errors import UserError

# Each kind, and how many tries the long form makes; the short one is in CI.
KINDS = {
  'kills': 300,
  'killed_commands': 100,
  'damage': 500,
  'stops': 200,
  'full_disk': 40,
  'ranks': 30,
  'restarts': 200,
  'together': 30,
  'hostile': 150,
  'load': 3,
}


def define_flags() -> cli.Flags:
  """Return the flags of this command."""
  command = cli.Flags()
  command.list('kinds', [*KINDS], 'Which kinds of fault.')
  command.list('counts', [], 'KIND=N: how many tries; default: the long form.')
  command.integer('seed', 0, 'Of what is random in the tries.')
  command.text('folder', None, 'Where they work; default: a temporary folder.')
  command.text('results', str(results_file.RESULTS), 'Of the JSON file.')
  return command


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = define_flags()
  if command.parse(argv, __doc__) is None:
    return 0
  given = command.values
  counts = KINDS | _counts(given.counts)
  if unknown := {*given.kinds} - {*KINDS}:
    raise UserError(f'--kinds: {", ".join(sorted(unknown))} is none of them.')
  with contextlib.ExitStack() as stack:
    folder = given.folder or stack.enter_context(tempfile.TemporaryDirectory())
    table = {
      kind: _try(kind, counts[kind], given.seed, pathlib.Path(folder))
      for kind in given.kinds
    }
  path = pathlib.Path(given.results) / 'faults.json'
  _write(path, table, given.seed)
  _print(table)
  return int(any(row['faults'] for row in table.values()))


def _counts(texts):
  """Return the counts of --counts=KIND=N."""
  found = {}
  for text in texts:
    kind, _, count = text.partition('=')
    if kind not in KINDS or not count.isdecimal():
      raise UserError(f'--counts={text} must be KIND=N.')
    found[kind] = int(count)
  return found


def _try(kind, count, seed, folder):
  """Make the tries of a kind; return its row of the table."""
  module = importlib.import_module(f'benchmarks.faults.{kind}')
  place = (folder / kind).resolve()
  place.mkdir(parents=True, exist_ok=True)
  subjects.write_data(place)
  notes, faults, began = collections.Counter(), [], time.monotonic()
  for tried in module.tries(place, random.Random(f'{seed} {kind}'), count):
    notes[tried.note] += 1
    if tried.fault:
      faults.append(f'{tried.what}: {tried.fault}')
      print(f'{kind}: {faults[-1]}', flush=True)
  return {
    'promise': module.PROMISE,
    'tries': notes.total(),
    'ended': dict(notes.most_common()),
    'faults': faults,
    'minutes': round((time.monotonic() - began) / 60, 1),
  }


def _write(path, table, seed):
  """Put the rows into the file of results, beside those of other kinds."""
  content = {}
  if path.exists():
    content = json.loads(path.read_text())
  measured = results_file.provenance()
  rows = {
    k: row | {'seed': seed, 'measured': measured} for k, row in table.items()
  }
  results_file.write(
    path, {'table': 'faults', 'kinds': content.get('kinds', {}) | rows}
  )


def markdown(kinds: dict) -> str:
  """Return the table of docs/reliability.md, from the file of results."""
  lines = [
    '| kind | tries | wrong | minutes | promised |',
    '|---|---|---|---|---|',
  ]
  for kind, row in kinds.items():
    cells = (kind, row['tries'], len(row['faults']), row['minutes'])
    cells = (*cells, row['promise'])
    lines.append(f'| {" | ".join(map(str, cells))} |')
  return '\n'.join(lines)


def _print(table):
  rows = [
    (kind, str(row['tries']), str(len(row['faults'])), f'{row["minutes"]}')
    for kind, row in table.items()
  ]
  print(console.table(('kind', 'tries', 'faults', 'minutes'), rows))


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
