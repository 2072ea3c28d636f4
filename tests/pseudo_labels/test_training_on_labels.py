"""Training on pseudo labels: which there are, and who makes those that lack."""

import itertools
import pathlib
import shutil

import numpy as np
import pytest
import tiny
import tiny_runs

from jaxuda import config as config_lib
from jaxuda import input as input_lib
from jaxuda import methods, pseudo_label
from jaxuda.input import from_config
from jaxuda.pseudo_labels import rules, writer
from jaxuda.training import checks, stages
from jaxuda.utils import metrics_csv, sharding
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('name', ['bdl_ssl', 'fada_distill', 'mean_teacher'])
def test_each_config_trains_on_them(name, half, streets_data):
  stream = 'source' if name == 'fada_distill' else 'target'
  sizes = [f'{s}.size=32x64' for s in ('source', 'target')]
  overrides = [*sizes, f'{stream}.labels={half}', f'data_dir={streets_data}']
  config = tiny.config(name, *overrides)
  checks.check(config, sharding.make_mesh())
  names = methods.load(config.method).streams
  folders = stages.pseudo_label_dirs(config, names, pathlib.Path('runs/x'))
  assert folders[stream] == half
  streams = from_config.open_streams(config, names, folders)
  batches = input_lib.train_batches(streams, seed=0)
  one_head = 'model.decoder.multi_level=False'
  current, run = tiny.first_state(name, one_head), tiny.stepper(name, one_head)
  for _ in range(2):
    batch = next(batches)
    assert {'image', 'label'} == set(batch[stream])
    current, measured = run(current, batch, tiny.weights(name))
  terms = {k.removeprefix('loss/') for k in measured if k.startswith('loss/')}
  weights = {k for k in tiny.weights(name) if not k.endswith('_aux')}
  assert terms == weights
  assert all(np.isfinite(v) for v in measured.values())
  assert measured['skipped'] == 0
  # The true labels, which the prepared city has, are nowhere.
  assert (batch[stream]['label'] == 255).mean() > 0.3


def test_a_target_without_pseudo_labels_has_none(streets_data, half):
  """The folder's labels reach their stream alone."""
  sizes = [f'{s}.size=32x64' for s in ('source', 'target')]
  config = tiny.config('advent', *sizes, f'data_dir={streets_data}')
  names = ('source', 'target')

  def batch(folders):
    streams = from_config.open_streams(config, names, folders)
    return next(input_lib.train_batches(streams, seed=0))

  plain, labelled = batch(None), batch({'target': half})
  assert set(plain['target']) == {'image'}
  assert set(labelled['target']) == {'image', 'label'}
  assert tiny.same(labelled['source'], plain['source'])
  np.testing.assert_array_equal(
    labelled['target']['image'], plain['target']['image']
  )
  # Labels that are yet to be made; no true ones in the meantime.
  waiting = batch({'target': half / 'nowhere', 'source': half / 'nowhere'})
  assert set(waiting['target']) == set(waiting['source']) == {'image'}


def test_a_run_predicts_labels_that_are_missing(
  finished_run, streets_data, tmp_path, capsys
):
  run = shutil.copytree(finished_run.workdir, tmp_path / 'runs' / 'run')
  config = f'{tiny.ROOT}/configs/cbst.py:streets,encoder=resnet'
  settings = [
    s for s in tiny_runs.SETTINGS if not s.startswith(('patch', 'init'))
  ]
  workdir = tmp_path / 'runs' / 'round'
  arguments = [f'--config={config}', f'--workdir={workdir}'] + [
    f'--config.{s}'
    for s in (
      *settings,
      'steps=2',
      'loss_weights.kld_main=0.01',
      'pseudo.input=32x64',
      f'init={run}',
      f'target.labels={run}',
      f'data_dir={streets_data}',
    )
  ]
  assert tiny_runs.run(*arguments) == 0
  said = capsys.readouterr().out
  [folder] = (run / 'pseudo_labels').iterdir()
  assert f'pseudo labels: {folder}\n' in said
  assert 'stage' not in said  # the run stands for the config's own
  assert folder.name == 'streets-city-32x64-balanced-input=32,64'
  [row] = [
    row
    for row in metrics_csv.read_metrics(workdir / 'metrics.csv')
    if 'loss/kld_main' in row
  ]
  assert row['loss/kld_main'] > 0 and row['loss/seg_target_main'] > 0
  # They are made once; a process that waited for another finds them there.
  before = folder.stat().st_mtime_ns
  writer.make_for(config_lib.read_run(workdir), 'target', folder)
  assert 'rule balanced' in said
  assert 'rule balanced' not in capsys.readouterr().out
  assert folder.stat().st_mtime_ns == before


@pytest.mark.parametrize(
  ('name', 'override', 'words'),
  [
    (
      'cbst',
      'target.labels_stage=None',
      r'target\.labels=None: self-training needs',
    ),
    (
      'cbst',
      'grad_accum_steps=2',
      'grad_accum_steps=2: the term kld_main is a mean over',
    ),
    ('source_only', 'target.labels=x', 'source_only does not read the target'),
    (
      'bdl_ssl',
      'pseudo.portion=-1.0',
      r'portion=-1.0 must be at least 0',
    ),
    ('bdl_ssl', 'pseudo.cap=1.5', r'pseudo\.cap=1.5 must be .* at most 1'),
  ],
)
def test_settings_that_cannot_work(name, override, words):
  config = tiny.config(name, override)
  if name == 'cbst':
    config.loss_weights.kld_main = 0.01
  with pytest.raises(UserError, match=words):
    checks.check(config, sharding.make_mesh())


def test_what_labels_may_name(finished_run, half, tmp_path):
  """A folder of labels, or a run where the config says how; else its stage."""

  def folder(name, named):
    config = tiny.config(name, f'target.labels={named}')
    folders = stages.pseudo_label_dirs(config, ['target'], tmp_path / 'run')
    return folders['target']

  assert folder('advent', half) == half
  assert folder('advent', None) is None
  run = finished_run.workdir
  name = f'{rules.FOLDER}/streets-city-96x192-median'
  assert folder('bdl_ssl', run) == run / name
  stage = tiny.config('bdl_ssl').target.labels_stage
  made = stages.stage_dir(stage, tmp_path / 'run')
  assert folder('bdl_ssl', None) == made / name
  assert made.parent == tmp_path and made.name == (
    f'bdl-streets-encoder=toy-seed=0-{config_lib.digest(stage)}'
  )
  with pytest.raises(UserError, match=r'does not say how .* --workdir='):
    folder('advent', run)
  with pytest.raises(UserError, match='neither a folder of pseudo labels nor'):
    folder('bdl_ssl', tmp_path / 'nothing')


def test_labels_of_an_earlier_checkpoint(finished_run, tmp_path):
  """A run that went on has other labels; they are not taken unseen."""
  run = shutil.copytree(finished_run.workdir, tmp_path / 'run')
  arguments = ['pseudo_label', f'--workdir={run}']
  assert pseudo_label.main([*arguments, '--checkpoint=8']) == 0
  config = tiny.config('bdl_ssl', f'target.labels={run}', 'target.size=32x64')
  with pytest.raises(
    UserError, match=r'labels of step 8, and .* at step 9: del'
  ):
    stages.pseudo_label_dirs(config, ['target'], tmp_path / 'next')
  [made] = (run / rules.FOLDER).iterdir()
  shutil.rmtree(made)
  assert pseudo_label.main(arguments) == 0
  folders = stages.pseudo_label_dirs(config, ['target'], tmp_path / 'next')
  assert folders == {'target': made}


def stages_that_label(config):
  """The stages that made the labels of a config's target, the latest first."""
  while config.target.labels_stage is not None:
    config = config.target.labels_stage
    yield config


@pytest.mark.parametrize('count', [1, 2])
def test_bdls_stages_start_alike_on_one_source(count):
  """M1 and M2 have labels by a network of their own start, source and size."""
  config = config_lib.load(
    f'configs/bdl_ssl.py:streets,round={count}',
    [
      'init=weights.pth',
      'source.name=streets/other',
      'model.decoder.width=8',
      'seed=3',
    ],
  )
  before = [*stages_that_label(config)]
  assert [stage.method for stage in before] == ['adaptsegnet'] * count
  for stage in before:
    assert stage.init == 'weights.pth' and stage.seed == 3
    assert stage.source.name == 'streets/other'
    assert stage.source is config.source
    assert stage.model is config.model and stage.model.decoder.width == 8
  assert before[-1].name == 'bdl-streets'


def test_an_override_of_a_stage_stays_there():
  config = config_lib.load(
    'configs/bdl_ssl.py:streets',
    ['target.labels_stage.steps=7', 'target.labels_stage.optim.lr=0.5'],
  )
  stage = config.target.labels_stage
  assert (stage.steps, stage.optim.lr) == (7, 0.5)
  assert config.steps != 7 and config.optim.lr != 0.5


@pytest.mark.parametrize('preset', ['gta5', 'synthia', 'streets', 'camvid'])
def test_self_training_starts_from_the_network_that_labels(preset):
  """In every round of CBST they are one stage, trained once."""
  config = config_lib.load(f'configs/cbst.py:{preset},round=3')
  rounds = [config, *stages_that_label(config)]
  assert len(rounds) == 4
  for stage, before in itertools.pairwise(rounds):
    assert stage.init_stage is stage.target.labels_stage is before
    assert before.model is config.model
  assert rounds[-1].method == 'source_only'
  portions = [stage.pseudo.portion for stage in rounds[:-1]]
  assert portions == pytest.approx([0.3, 0.25, 0.2])


def test_fadas_last_stage_starts_as_its_first():
  """All three stages have one network, and the first and last one `init`."""
  config = config_lib.load(
    'configs/fada_distill.py:gta5', ['init=w.pth', 'model.encoder.width=4']
  )
  second = config.source.labels_stage
  first = second.init_stage
  assert first.init == config.init == 'w.pth' and second.init is None
  assert first.model is second.model is config.model
  assert first.model.encoder.width == 4
