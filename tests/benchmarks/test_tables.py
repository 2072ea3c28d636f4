"""The benchmark that makes the README's tables, without its training runs."""

import json
import os
import threading

import jax
import pytest
import tiny
from PIL import Image

from benchmarks.tables import figures, measure, plan, results_file, rows
from benchmarks.tables.plan import Run
from benchmarks.tables.rows import Row
from jaxuda import config as config_lib
from jaxuda import experiment
from jaxuda.models import segmenter
from jaxuda.training import checks
from jaxuda.utils import sharding
from jaxuda.utils.errors import UserError

SOURCE_ONLY = Row('source_only.py:streets')
ADABN = Row('adabn.py:streets')


@pytest.fixture
def trained(monkeypatch):
  """Return the runs that are trained, in their order; seed 1 is better."""
  found, lock = [], threading.Lock()

  def train(run, split, data_dir):
    with lock:
      found.append(run)
    return 25.0 + 50.0 * (run.seed == '1')

  monkeypatch.setattr(measure, 'train', train)
  monkeypatch.setattr(measure, 'ensemble', len)
  return found


def command(folder, *arguments):
  """Call the command line; its results go into a folder."""
  assert measure.main(['measure', f'--results={folder}', *arguments]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
  ('table', 'jobs'), [('methods', 1), ('self_training', 2)]
)
def test_every_seed_is_written(table, jobs, trained, tmp_path, capsys):
  command(tmp_path, f'--table={table}', '--seeds=0,1', f'--jobs={jobs}')
  found = json.loads((tmp_path / f'{table}.json').read_text())
  titles = list(rows.TABLES[table])
  assert list(found['miou']) == titles
  assert found['miou']['AdaBN control'] == {'0': 25.0, '1': 75.0}
  if table == 'methods':
    assert found['miou']['A+E'] == {'0': 2, '1': 2}
  there = f'{jax.devices()[0].device_kind} ({os.cpu_count()} cores'
  assert there in found['measured']['AdaBN control']['1']
  said = capsys.readouterr().out
  steps = {'methods': 600, 'self_training': 2000}[table]
  assert (
    f'| AdaBN control | {steps} | {steps} | 25.0, 75.0 | 50.0 ± 35.4 | '
    '+0.0 ± 0.0 |' in said
  )
  workdirs = [run.workdir for run in trained]
  assert len(workdirs) == len(set(workdirs))  # shared stages once
  # A run comes after those that it goes on from; and after those that it would
  # train itself, were they not in the table, too.
  for i, run in enumerate(trained):
    for row in rows.before(run.row):
      assert run.of(row) in trained[:i] or jobs > 1, run
    stages = set(plan.stage_of(run).all()) - {run.workdir}
    assert stages & set(workdirs) <= set(workdirs[:i]) or jobs > 1, run


def test_no_run_starts_before_what_it_goes_on_from():
  """However many jobs there are."""
  folders, done, lock = set(), set(), threading.Lock()

  def train(run):
    before = set(plan.stage_of(run).all()) - {run.workdir}
    with lock:
      assert before & folders <= done, run
    with lock:
      done.add(run.workdir)
    return 0.0

  table = [r for x in rows.METHODS.values() for r in rows.members(x)]
  folders |= {Run(row).workdir for row in rows.with_before(table)}
  queue = measure.Queue(8, train)
  lines = measure.submit(queue, {'0': {'all': table}}, plan.FOLDER)
  for future in lines[0][3]:
    future.result()
  assert done == folders


def test_what_is_kept_is_not_measured_again(trained, tmp_path, capsys):
  """Only what is missing, what that goes on from, and changed settings."""
  path = tmp_path / 'patches.json'
  titles = list(rows.PATCHES)
  command(tmp_path, '--table=patches', '--seeds=1')
  trained.clear()
  before = json.loads(path.read_text())
  before['settings'][titles[3]] = 'others'  # as if its config had others
  before['note'] = 'of another day'
  miou = {title: {'1': 10.0, '0': 20.0} for title in titles}
  measured = {title: dict.fromkeys(miou[title], 'before') for title in titles}
  del miou['AdaBN control']['1'], miou['source-only']['1']
  path.write_text(json.dumps(before | {'miou': miou, 'measured': measured}))
  command(tmp_path, '--table=patches', '--seeds=1')
  expected = [ADABN, rows.PATCHES[titles[3]], SOURCE_ONLY]
  assert {run.seed for run in trained} == {'1'}
  assert {run.row for run in trained} == set(expected)
  assert len(trained) == len(expected)
  found = json.loads(path.read_text())
  assert found['miou'] == miou | {
    'AdaBN control': {'0': 20.0, '1': 75.0},
    'source-only': {'0': 20.0, '1': 75.0},
    titles[3]: {'1': 75.0},
  }
  assert found['note'] == 'of another day'
  assert found['measured']['whole maps'] == measured['whole maps']
  control = found['measured']['AdaBN control']
  assert control['0'] == 'before' and 'commit' in control['1']
  said = capsys.readouterr().out
  assert f'{titles[3]}: leaves {path}' in said and 'patch.size=48' in said
  line = '| whole maps | 600 | 600 | 20.0, 10.0 | 15.0 ± 7.1 | -32.5 ± 46.0 |'
  assert line in said


def test_the_digest_tells_settings_apart():
  """Also those of the stages before, and not what changes no number."""

  def digest(*overrides, **before):
    row = Row('local_alignment.py:streets', overrides, **before)
    return results_file.digest(row)

  assert digest() == digest('num_log_images=2')
  assert digest() == digest('init_stage.log_every=3')
  found = {
    digest(),
    digest('optim.lr=0.1'),
    digest('seed=1'),
    digest('init_stage.steps=1'),
    digest(init=ADABN),
    digest(init=SOURCE_ONLY),
    digest(labels=ADABN),
    results_file.digest(rows.Ensemble((ADABN, ADABN))),
  }
  assert len(found) == 8


def test_a_row_in_the_file_of_results():
  row = Row('a.py:streets', ('x=1',), init=Row('b.py'), labels=Row('c.py'))
  assert rows.to_json(rows.Ensemble((row, Row('d.py')))) == [
    {
      'config': 'a.py:streets',
      'overrides': ['x=1'],
      'init': {'config': 'b.py'},
      'labels': {'config': 'c.py'},
    },
    {'config': 'd.py'},
  ]


def rows_of(table):
  """Return all rows of a table, including those of ensembles."""
  return [row for x in rows.TABLES[table].values() for row in rows.members(x)]


@pytest.mark.parametrize('table', rows.TABLES)
def test_every_row_can_be_trained(table):
  for row in rows.with_before(rows_of(table)):
    config = Run(row).config
    for each in (config, *config_lib.stages(config).values()):
      checks.check(each, sharding.make_mesh())


def test_what_a_row_goes_on_from_is_named_by_flags(tmp_path):
  run = Run(rows.METHODS['CBST from AdaBN'], '2', tmp_path)
  adabn = Run(ADABN, '2', tmp_path)
  assert adabn.workdir.parent == tmp_path
  assert adabn.workdir.name.startswith('adabn-streets-seed=2-')
  assert run.config.init == run.config.target.labels == str(adabn.workdir)
  assert run.config.seed == run.config.init_stage.seed == 2
  assert run.overrides == [
    'seed=2',
    f'init={adabn.workdir}',
    f'target.labels={adabn.workdir}',
  ]


def test_methods_are_all_there():
  """Each config has a row in one of the tables of methods."""
  names = {
    row.config.partition('.')[0]
    for table in ('methods', 'self_training', 'high_resolution')
    for row in rows_of(table)
  }
  assert names == set(tiny.configs()) - {'fada_source'}  # no method


def shapes(config):
  """Return what the network of an experiment consists of."""
  net = experiment.segmenter(config)
  return jax.tree.map(lambda leaf: leaf.shape, segmenter.abstract(net))


@pytest.mark.parametrize('title', rows.METHODS)
def test_a_stage_trains_the_network_that_goes_on(title):
  for row in rows.members(rows.METHODS[title]):
    config = Run(row).config
    before = Run(row.init).config if row.init else config.init_stage
    assert before is None or shapes(before) == shapes(config)


def test_a_row_is_compared_with_as_many_steps():
  steps = {
    title: plan.steps_of(rows.members(x)) for title, x in rows.METHODS.items()
  }
  control = {t: measure.control_of(t, steps) for t in steps}
  assert (steps['ADVENT'], control['ADVENT']) == ((600, 600), 'AdaBN control')
  for title in ('global-local, S4', 'CBST', 'CBST from AdaBN'):
    assert steps[title] == steps['AdaBN control, longer'] == (900, 900)
    assert control[title] == 'AdaBN control, longer'
  # What makes labels, and each network of an ensemble, counts for the total.
  for title, total in (('BDL, M2', 1800), ('BDL, M1', 1200), ('A+E', 1200)):
    assert steps[title] == (600, total), title
    assert control[title] == 'AdaBN control'
  assert steps['S4 on BDL'] == (900, 1500)
  assert steps['FADA, self-distilled'] == (600, 1200)


def test_self_training_is_compared_at_one_number_of_steps():
  found = {plan.steps_of(rows.members(x)) for x in rows.SELF_TRAINING.values()}
  assert found == {(2000, 2000)}


def test_a_run_that_fails_starts_no_other(tmp_path, monkeypatch):
  monkeypatch.setattr(measure, 'train', lambda run, split, data_dir: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    command(tmp_path, '--table=patches', '--seeds=0')


def test_the_figures(tmp_path):
  """Each names rows that there are; a row that is not yet there is left out."""
  for figure in figures.FIGURES.values():
    for titles in figure.curves.values():
      assert len(titles) == len(figure.ticks)
      assert set(titles) - {None} <= set(rows.TABLES[figure.table])
    miou = {t: {'0': 10.0, '1': 12.0} for t in rows.TABLES[figure.table]}
    content = json.dumps({'miou': miou})
    (tmp_path / f'{figure.table}.json').write_text(content)
  labels = figures.FIGURES['labels']
  miou = {title: {'0': 10.0, '1': 12.0} for title in rows.LABELS}
  miou |= {'5 labels alone': {'0': 3.0, '1': 4.0}, '20 labels alone': {}}
  drawn = figures.curves(labels, miou)
  assert list(next(iter(drawn.values())).x) == [0, 1, 2, 3]
  gains = figures.over({'a': {'0': 10.0, '1': 12.0}, 'b': {'1': 9.0}}, 'b')
  assert gains == {'a': {'1': 3.0}, 'b': {'1': 0.0}}
  alone = drawn['labels alone']
  assert list(alone.x) == [1, 3] and alone.values[0] == [3.0, 4.0]
  arguments = ['figures', f'--results={tmp_path}', f'--output={tmp_path}']
  assert figures.main(arguments) == 0
  for name in figures.FIGURES:
    assert Image.open(tmp_path / f'{name}.png').size > (300, 300)
  (tmp_path / 'labels.json').unlink()
  with pytest.raises(UserError, match=r'--table=labels'):
    figures.main(arguments)


def test_a_finished_run_of_another_split_is_refused(tmp_path):
  """Its scores would stand in the wrong table."""
  run = Run(ADABN, '0', tmp_path)
  run.workdir.mkdir()
  stored = config_lib.to_json(run.config)
  (run.workdir / 'config.json').write_text(json.dumps(stored))
  scores = json.dumps({'means': {'mIoU': 0.25}})
  (run.workdir / 'scores.json').write_text(scores)
  assert measure.train(run) == 25.0
  assert measure.train(run, data_dir='elsewhere') == 25.0
  with pytest.raises(UserError, match=r'\n  eval\.split: "val"'):
    measure.train(run, split='tune')


def test_a_failed_run(tmp_path, capfd):
  """Its own sentence, and where to look."""
  run = Run(Row('advent_patch.py:streets', ('patch.size=8',)), '0', tmp_path)
  told = r'advent_patch-streets-seed=0-\w+ ended with status 2'
  with pytest.raises(UserError, match=told):
    measure.train(run)
  said, error = capfd.readouterr()
  assert '--config.patch.size=8 --config.seed=0' in said
  assert 'config.patch.size=8 must be' in error
