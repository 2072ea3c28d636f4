"""The benchmark that makes the README's tables, without its training runs."""

import functools
import json
import os
import threading

import jax
import pytest
import tiny
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from benchmarks import rows, streets_table, table_figures, table_file
from jaxuda import experiment
from jaxuda.config import loading as config_lib
from jaxuda.models import deeplab
from jaxuda.training import checks
from jaxuda.utils import sharding
from jaxuda.utils.errors import UserError


@pytest.fixture(autouse=True)
def parsed():
  """The flags' defaults."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS(['streets_table'])


@pytest.fixture
def trained(tmp_path, monkeypatch):
  """The specs that are trained, in their order; seed 1 is better."""
  found, lock = [], threading.Lock()

  def train(spec):
    with lock:
      found.append(spec)
    return 25.0 + 50.0 * spec.endswith('seed=1')

  monkeypatch.setattr(streets_table, 'train', train)
  monkeypatch.setattr(streets_table, 'ensemble', len)
  with flagsaver.flagsaver(results=str(tmp_path)):
    yield found


@pytest.mark.parametrize('table', rows.TABLES)
@pytest.mark.parametrize('jobs', [1, 2])
def test_every_seed_is_written(table, jobs, trained, tmp_path, capsys):
  with flagsaver.flagsaver(table=table, seeds=['0', '1'], jobs=jobs):
    streets_table.main([])
  found = json.loads((tmp_path / f'{table}.json').read_text())
  titles = list(rows.TABLES[table])
  assert list(found['miou']) == titles
  assert found['miou']['AdaBN control'] == {'0': 25.0, '1': 75.0}
  if table == 'methods':
    assert found['miou']['A+E'] == {'0': 2, '1': 2}
  there = f'{jax.devices()[0].device_kind} ({os.cpu_count()} cores'
  assert there in found['measured']['AdaBN control']['1']
  said = capsys.readouterr().out
  steps = 1800 if table == 'camvid' else 1000
  assert (
    f'| AdaBN control | {steps} | {steps} | 25.0, 75.0 | 50.0 ± 35.4 | '
    '+0.0 ± 0.0 |' in said
  )
  assert len(trained) == len(set(trained))  # shared stages once
  for seed in '01':  # a run comes after those it starts from
    ours = [spec for spec in trained if spec.endswith(f'seed={seed}')]
    for i, spec in enumerate(ours):
      before = {stage.partition(',')[0] for stage in ours[:i]}
      for stage in streets_table.stages_of(spec):
        assert stage.partition(',')[0] in before or jobs > 1, spec


def test_what_is_kept_is_not_measured_again(trained, tmp_path, capsys):
  """Only what is missing, what that starts from, and changed settings."""
  path = tmp_path / 'patches.json'
  titles = list(rows.PATCHES)
  with flagsaver.flagsaver(table='patches', seeds=['1']):
    streets_table.main([])
  trained.clear()
  before = json.loads(path.read_text())
  before['settings'][titles[3]] = 'others'  # as if its page had other defaults
  miou = {title: {'1': 10.0, '0': 20.0} for title in titles}
  measured = {title: dict.fromkeys(miou[title], 'before') for title in titles}
  del miou['AdaBN control']['1']
  path.write_text(json.dumps(before | {'miou': miou, 'measured': measured}))
  with flagsaver.flagsaver(table='patches', seeds=['1']):
    streets_table.main([])
  assert sorted(trained) == [
    'configs/adabn.py:streets,seed=1',
    f'configs/{rows.PATCHES[titles[3]]},seed=1',
    'configs/source_only.py:streets,seed=1',
  ]
  found = json.loads(path.read_text())
  assert found['miou'] == miou | {
    'AdaBN control': {'0': 20.0, '1': 75.0},
    titles[3]: {'1': 75.0},
  }
  assert found['measured']['source-only'] == measured['source-only']
  control = found['measured']['AdaBN control']
  assert control['0'] == 'before' and 'commit' in control['1']
  said = capsys.readouterr().out
  assert f'{titles[3]}: leaves {path}' in said
  line = (
    '| source-only | 1000 | 1000 | 20.0, 10.0 | 15.0 ± 7.1 | -32.5 ± 46.0 |'
  )
  assert line in said


def test_the_digest_tells_settings_apart(tmp_path):
  """Also those of the stages before, and not what changes no number."""
  page = 'configs/adabn.py:streets'
  assert table_file.digest([page]) == table_file.digest([f'{page},panels=2'])
  others = (f'{page},optim.lr=0.1', f'{page},seed=1')
  assert len({table_file.digest([each]) for each in (page, *others)}) == 3
  stages = streets_table.with_stages([page])
  assert stages == [page, 'configs/source_only.py:streets']
  assert table_file.digest(stages) != table_file.digest([page])


@pytest.mark.parametrize('table', rows.TABLES)
def test_every_row_can_be_trained(table):
  for x in rows.TABLES[table].values():
    for page in [x] if isinstance(x, str) else x:
      spec = f'configs/{page}'
      checks.check(config_lib.load(spec), sharding.make_mesh())


def test_methods_are_all_there():
  """Each page has a row, and each row that adapts sees as many steps."""
  pages = {
    config_lib.parse_spec(page)[0].removesuffix('.py')
    for x in rows.METHODS.values()
    for page in ([x] if isinstance(x, str) else x)
  }
  # FADA's source stage is that of all rows here.
  assert pages == set(tiny.pages()) - {'fada_source'}
  for title, x in rows.METHODS.items():
    for page in [x] if isinstance(x, str) else x:
      spec = f'configs/{page}'
      stages = streets_table.stages_of(spec)
      own = config_lib.load(spec).steps
      assert own == (400 if stages else 1000) or title == 'FADA, self-distilled'
      if 'configs/source_only.py:streets' in stages:
        assert config_lib.load(stages[0]).steps == 600


@functools.cache
def network(spec):
  """The shapes of what a page's experiment trains."""
  net = experiment.segmenter(config_lib.load(spec))
  return jax.tree.map(lambda leaf: leaf.shape, deeplab.abstract(net))


@pytest.mark.parametrize('title', rows.METHODS)
def test_a_stage_trains_the_network_that_goes_on(title):
  x = rows.METHODS[title]
  for page in [x] if isinstance(x, str) else x:
    spec = f'configs/{page}'
    if init := config_lib.load(spec).init:
      assert network(init) == network(spec)


def test_a_row_is_compared_with_as_many_steps():
  steps = {
    title: streets_table.steps_of(
      [f'configs/{page}' for page in ([x] if isinstance(x, str) else x)]
    )
    for title, x in rows.METHODS.items()
  }
  control = {t: streets_table.control_of(t, steps) for t in steps}
  assert (steps['ADVENT'], control['ADVENT']) == ((1000, 1000), 'AdaBN control')
  for title in ('global-local, S4', 'CBST from AdaBN'):
    assert steps[title] == steps['AdaBN control, longer'] == (1400, 1400)
    assert control[title] == 'AdaBN control, longer'
  # What makes labels, and each network of an ensemble, counts for the total.
  for title, total in (('BDL, M2', 1800), ('CBST', 1000), ('A+E', 1400)):
    assert steps[title] == (1000, total), title
    assert control[title] == 'AdaBN control'
  assert steps['S4 on BDL'] == (1400, 1800)
  assert steps['FADA, self-distilled'] == (600, 1600)


def test_a_run_that_fails_starts_no_other(trained, monkeypatch):
  monkeypatch.setattr(streets_table, 'train', lambda spec: 1 / 0)
  with (
    flagsaver.flagsaver(table='patches', seeds=['0']),
    pytest.raises(ZeroDivisionError),
  ):
    streets_table.main([])


def test_the_figures(tmp_path):
  """Each names rows that there are; a row that is not yet there is left out."""
  for figure in table_figures.FIGURES.values():
    for titles in figure.curves.values():
      assert len(titles) == len(figure.ticks)
      assert set(titles) - {None} <= set(rows.TABLES[figure.table])
    miou = {t: {'0': 10.0, '1': 12.0} for t in rows.TABLES[figure.table]}
    content = json.dumps({'miou': miou})
    (tmp_path / f'{figure.table}.json').write_text(content)
  labels = table_figures.FIGURES['labels']
  miou = {title: {'0': 10.0, '1': 12.0} for title in rows.LABELS}
  miou |= {'5 labels alone': {'0': 3.0, '1': 4.0}, '20 labels alone': {}}
  drawn = table_figures.curves(labels, miou)
  assert list(next(iter(drawn.values())).x) == [0, 1, 2, 3]
  gains = table_figures.over(
    {'a': {'0': 10.0, '1': 12.0}, 'b': {'1': 9.0}}, 'b'
  )
  assert gains == {'a': {'1': 3.0}, 'b': {'1': 0.0}}
  alone = drawn['labels alone']
  assert list(alone.x) == [1, 3] and alone.values[0] == [3.0, 4.0]
  with flagsaver.flagsaver(results=str(tmp_path), output=str(tmp_path)):
    table_figures.main([])
    for name in table_figures.FIGURES:
      assert Image.open(tmp_path / f'{name}.png').size > (300, 300)
    (tmp_path / 'labels.json').unlink()
    with pytest.raises(UserError, match=r'--table=labels'):
      table_figures.main([])


def test_a_finished_run_of_another_split_is_refused(tmp_path):
  """Its scores would stand in the wrong table."""
  spec = 'configs/source_only.py:streets,seed=0'
  with flagsaver.flagsaver(folder=str(tmp_path)):
    workdir = streets_table.workdir_of(spec)
    workdir.mkdir()
    stored = config_lib.to_json(config_lib.load(spec, ['eval.split=val']))
    (workdir / 'config.json').write_text(json.dumps(stored))
    scores = json.dumps({'means': {'mIoU': 0.25}})
    (workdir / 'scores.json').write_text(scores)
    assert streets_table.train(spec) == 25.0
    with (
      flagsaver.flagsaver(split='tune'),
      pytest.raises(UserError, match=r'eval\.split'),
    ):
      streets_table.train(spec)


def test_a_failed_run(tmp_path, capfd):
  """Its own sentence, and where to look."""
  spec = 'configs/advent_patch.py:streets,patch.size=8,seed=0'
  with (
    flagsaver.flagsaver(folder=str(tmp_path)),
    pytest.raises(UserError, match=r'patch\.size=8-seed=0 ended with status 2'),
  ):
    streets_table.train(spec)
  assert 'config.patch.size=8 must be 32' in capfd.readouterr().err
