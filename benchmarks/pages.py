"""Put what was measured into the pages, each table in its place.

  python -m benchmarks.pages [--results=benchmarks/results] [--check]

A table stands in README.md or in docs/ between the lines `<!-- table: NAME -->`
and `<!-- end of table -->`; NAME is a table of `tables.measure`, or one of
OTHERS. --check writes nothing, names the pages whose tables are not those of
the results' files, and exits with 1.
"""

import json
import pathlib
import re
import sys
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.faults import __main__ as faults
from benchmarks.perf import hours, scaling_model
from benchmarks.tables import label_free, measure, results_file, rows
from jaxuda.utils import cli, files
from jaxuda.utils.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]
_PLACE = re.compile(
  r'(<!-- table: (.*?) -->\n)(.*?)(<!-- end of table -->)', re.DOTALL
)


class Method(NamedTuple):
  """A line of the README.

  Attributes:
    title: of a row of the tables of results.
    label: what the README calls it.
    config: its file.
    published: mIoU on GTA5 -> Cityscapes with ResNet-101, '' for none.
  """

  title: str
  label: str
  config: str
  published: str = ''


_PAPERS = 'docs/papers.md'
# The README's two tables: of the self-training line, and of the four papers.
LONG = (
  Method('source-only', 'source-only', 'source_only.py', '37.8'),
  Method(
    'AdaBN control',
    "AdaBN control: the target's batch-norm statistics alone",
    'adabn.py',
  ),
  Method(
    'random patches, ALP-GI',
    f'[Random patches]({_PAPERS}#accv-2020) (ACCV 2020)',
    'advent_patch.py',
    '46.98',
  ),
  Method(
    'mean teacher',
    '[Mean teacher](https://arxiv.org/abs/1703.01780) (NeurIPS 2017)',
    'mean_teacher.py',
  ),
  Method(
    'DACS',
    '[DACS](https://arxiv.org/abs/2007.08702) (WACV 2021)',
    'dacs.py',
    '52.1',
  ),
  Method(
    '+ feature distance (DAFormer)',
    '[DAFormer](https://arxiv.org/abs/2111.14887) (CVPR 2022)',
    'daformer.py',
    '56.0',
  ),
  Method(
    '+ masks (MIC)',
    '[MIC](https://arxiv.org/abs/2212.01322) (CVPR 2023)',
    'mic.py',
    '59.4',
  ),
  Method('oracle', "oracle: the target's own labels", 'oracle.py', '65.1'),
)
SHORT = (
  Method('AdaBN control', 'AdaBN control', 'adabn.py'),
  Method(
    'ADVENT',
    '[ADVENT](https://arxiv.org/abs/1811.12833) (CVPR 2019)',
    'advent.py',
    '43.8',
  ),
  Method(
    'random patches, ALP-GI',
    f'[Random patches]({_PAPERS}#accv-2020) (ACCV 2020)',
    'advent_patch.py',
    '46.98',
  ),
  Method(
    'global-local, S4',
    f'[Joint global-local]({_PAPERS}#icip-2020) (ICIP 2020)',
    'local_alignment.py',
    '45.2',
  ),
  Method(
    'FADA',
    '[FADA](https://arxiv.org/abs/2007.09222) (ECCV 2020)',
    'fada.py',
    '46.9',
  ),
  Method(
    'ASS, GA+CSA, 20 labels',
    f'[ASS]({_PAPERS}#ass) (CVPRW 2020), 20 labelled images; published: 100',
    'ass.py',
    '54.2',
  ),
)


def _readme(table: str, methods: tuple[Method, ...], results: pathlib.Path):
  found = measure.lines(table, _read(results, table)['miou'])
  text = [
    '| method | config | published, GTA5 → Cityscapes | here, game → city '
    '| over AdaBN |',
    '|---|---|---|---|---|',
  ]
  for method in methods:
    line = found.get(method.title)
    here, over = (line.miou, line.over) if line else ('not measured', '')
    text.append(
      f'| {method.label} | `{method.config}` | {method.published} | {here} | '
      f'{over} |'
    )
  return '\n'.join(text)


def _label_free(results):
  runs = _read(results, 'label_free')['runs'].values()
  return label_free.markdown(label_free.correlations(runs))


def _faults(results):
  return faults.markdown(_read(results, 'faults')['kinds'])


def _hours(results):
  return hours.markdown(_read(results, 'hours')['configs'])


def _scaling_model(results):
  return scaling_model.markdown(_read(results, 'scaling_model')['rows'])


# Those that are no table of `tables.measure` as it is.
OTHERS: dict[str, Callable[[pathlib.Path], str]] = {
  'readme, 2,000 steps': lambda results: _readme(
    'self_training', LONG, results
  ),
  'readme, 600 steps': lambda results: _readme('methods', SHORT, results),
  'label_free': _label_free,
  'faults': _faults,
  'hours': _hours,
  'scaling_model': _scaling_model,
}


def _read(results, name):
  path = results / f'{name}.json'
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as e:
    raise UserError(f'{path} cannot be read: {e}.') from None


def table(name: str, results: pathlib.Path) -> str:
  """Return a table of the pages.

  Args:
    name: of OTHERS, or of rows.TABLES.
    results: the folder of the JSON files.

  Raises:
    UserError: there is no such table, or its file cannot be read.
  """
  if name in OTHERS:
    return OTHERS[name](results)
  if name not in rows.TABLES:
    known = ', '.join([*rows.TABLES, *OTHERS])
    raise UserError(f'a page has the table {name!r}; there are {known}.')
  return measure.markdown(name, _read(results, name)['miou'])


def filled(text: str, results: pathlib.Path) -> str:
  """Return a page with its tables as they were measured."""
  return _PLACE.sub(lambda m: f'{m[1]}{table(m[2], results)}\n{m[4]}', text)


def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  command = cli.Flags()
  command.text('results', str(results_file.RESULTS), 'Of the JSON files.')
  command.boolean('check', False, 'Whether nothing is written.')
  if command.parse(argv, __doc__) is None:
    return 0
  given, others = command.values, []
  for page in (ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))):
    before = page.read_text()
    after = filled(before, pathlib.Path(given.results))
    if after != before:
      others.append(page.relative_to(ROOT))
      if not given.check:
        files.write_text(page, after)
  for page in others:
    print(f'{page}: {"has other tables" if given.check else "written"}')
  return int(given.check and bool(others))


if __name__ == '__main__':
  cli.run_cli(main, sys.argv)
