"""Checks of a raw download, file by file, and the report of a check."""

import collections
import os
import pathlib
import shlex
from typing import NamedTuple

from jaxuda.datasets import check, files, own, pool, specs
from jaxuda.utils import console
from jaxuda.utils.errors import UserError

SHOWN = 20  # problems on the terminal; the JSON file has all of them


class _RawTask(NamedTuple):
  name: str
  variant: str
  example: files.Example
  labelled: bool


def verify_raw(
  spec: str, raw: str | os.PathLike | None, workers: int | None = None
) -> dict:
  """Check every raw file of one dataset.

  Args:
    spec: NAME or NAME/VARIANT.
    raw: folder of the download; None of a user's own data.
    workers: number of processes; None for all cores.

  Returns:
    A report; see `report`.

  Raises:
    UserError: the folder does not look like this dataset at all.
  """
  name, variant = specs.split_spec(spec)
  module = specs.module(name)
  if not module.NEEDS_RAW:
    raise UserError(
      f'{name} is rendered, it has no raw files; check its records with --size.'
    )
  command = f'python -m data.verify {shlex.quote(spec)}'
  if own.is_own(name):
    own.refuse_raw(spec, raw)
    raw = module.path
  else:
    command += f' --raw={shlex.quote(str(raw))}'
  splits, problems = {}, []
  with pool.ordered_map(command, workers) as mapped:
    for split, published in module.COUNTS.items():
      found = module.examples(pathlib.Path(raw).expanduser(), variant, split)
      count = len(found.examples) if found else 0
      splits[split] = {'found': count, 'expected': published}
      if found is None:
        text = f'there is no {split} split.'
        problems.append((split, files.Problem('no such split', str(raw), text)))
        continue
      problems += [(split, p) for p in found.problems]
      if published not in (None, count):
        text = f'{count:,} {split} images, but {published:,} are published.'
        problems.append((split, files.Problem('wrong count', str(raw), text)))
      tasks = [
        _RawTask(name, variant, e, found.labelled) for e in found.examples
      ]
      with console.progress(f'{spec} {split}', count) as advance:
        for found_problems in mapped(_examine, tasks):
          problems += [(split, p) for p in found_problems]
          advance()
  return report(spec, 'raw files', str(raw), splits, problems)


def _examine(task):
  return check.load(*task).problems


def report(
  spec: str,
  what: str,
  where: str,
  splits: dict[str, dict[str, int | None]],
  problems: list[tuple[str, files.Problem]],
) -> dict:
  """Return what the JSON file holds of one dataset.

  Returns:
    {'dataset', 'what', 'where', 'ok', 'splits': {split: counts},
    'problems': [{'split', 'kind', 'path', 'message', 'ids'?}], 'warnings'}.
  """
  entries = {'problems': [], 'warnings': []}
  for split, problem in problems:
    entry = {
      'split': split,
      'kind': problem.kind,
      'path': problem.path,
      'message': problem.text,
    }
    if problem.ids:
      entry['ids'] = {str(i): n for i, n in problem.ids.items()}
    warning = problem.kind in check.WARNINGS
    entries['warnings' if warning else 'problems'].append(entry)
  return {
    'dataset': spec,
    'what': what,
    'where': where,
    'ok': not entries['problems'],
    'splits': splits,
    **entries,
  }


def show(result: dict) -> None:
  """Print a report as a table and its first problems."""
  counts = collections.Counter(
    (e['split'], e['kind']) for e in result['problems'] + result['warnings']
  )
  kinds = sorted({kind for _, kind in counts})
  splits = result['splits']
  columns = ['found']
  if any(n['expected'] is not None for n in splits.values()):
    columns.append('expected')  # nobody publishes what a user's own data has
  rows = []
  for split, n in splits.items():
    cells = ['' if n[c] is None else f'{n[c]:,}' for c in columns]
    rows.append([split, *cells, *(f'{counts[split, k]:,}' for k in kinds)])
  print(f'{result["dataset"]}: {result["what"]}')
  print(console.table(('split', *columns, *kinds), rows))
  for title in ('problems', 'warnings'):
    for entry in result[title][:SHOWN]:
      print(f'{title[:-1]}: {entry["path"]}: {entry["message"]}')
    if len(result[title]) > SHOWN:
      print(f'... and {len(result[title]) - SHOWN:,} more {title}')
  state = 'all is well'
  if result['problems']:
    state = f'{len(result["problems"]):,} problems'
  elif result['warnings']:
    state = f'nothing wrong, {len(result["warnings"]):,} warnings'
  where = result['where']
  place = '' if where == result['dataset'] else f' in {where}'
  print(f'{result["dataset"]}: {state}{place}')
