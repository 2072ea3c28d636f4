"""Pages whose network is another page's, and what stages hand to one another."""

import json

import pytest
import tiny
import tiny_runs

from jaxuda.config import loading as config_lib
from jaxuda.training import stages
from jaxuda.utils.errors import UserError

LOCAL = 'configs/local_alignment.py'


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(tiny.ROOT)


@pytest.mark.parametrize(
  ('start', 'network'),
  [
    # Heads, live branches, classes, how it is scored: as in each original.
    (
      'adaptsegnet.py:gta5,model.decoder.multi_level=False',
      (False, 2, 19, 'logits'),
    ),
    ('advent.py:gta5', (True, 4, 19, 'logits')),
    ('bdl_ssl.py:synthia', (False, 4, 19, 'probabilities')),
    ('adaptsegnet.py:synthia', (True, 2, 16, 'logits')),
    ('ass_global.py:gta5', (False, 2, 19, 'logits')),
  ],
)
def test_local_alignment_has_the_network_it_starts_from(start, network):
  setting = start.partition(':')[2].partition(',')[0]
  config = config_lib.load(f'{LOCAL}:{setting},init=(configs/{start})')
  assert config.init == f'configs/{start}'
  classes = {'cityscapes19': 19, 'synthia16in19': 19, 'synthia16': 16}
  model = config.model
  assert network == (
    *(model.decoder.multi_level, model.decoder.aspp_branches),
    *(classes[config.classes], config.eval.upsample),
  )
  before = config_lib.load(config.init).optim
  assert config.optim.repeats == before.repeats
  stages.check_page(config.init, config)
  if start.startswith('bdl'):
    # "Their trained model" makes the labels (paper 000, section 4).
    assert config.target.labels == config.init
    assert config.pseudo.rule == 'median'
    assert config.loss_weights.seg_target_main == 1.0
  else:
    assert config.target.labels is None and 'pseudo' not in config


def test_local_alignment_on_a_run_and_on_a_file(tmp_path):
  before = config_lib.load('configs/clan.py:streets,model.encoder.width=8')
  text = json.dumps(config_lib.to_json(before))
  (tmp_path / 'config.json').write_text(text)
  config = config_lib.load(f'{LOCAL}:streets,init={tmp_path}')
  assert config.init == str(tmp_path)
  assert config.model == before.model and config.model.decoder.shared_features
  # AdaptSegNet's, which the page starts from by itself.
  default = config_lib.load(f'{LOCAL}:gta5')
  assert config_lib.load(f'{LOCAL}:gta5,init=x.pth').model == default.model
  assert config_lib.load(f'{LOCAL}:gta5,init=None').model == default.model


@pytest.mark.parametrize(
  ('page', 'keys'),
  [
    ('fada', ['init']),
    ('local_alignment', ['init']),
    ('fada_distill', ['source.labels']),
    ('bdl_ssl', ['target.labels']),
    ('cbst', ['init', 'target.labels']),
  ],
)
def test_stages_get_what_the_network_is(page, keys):
  network = '@VGG@,model.input_norm=caffe_vgg'
  override = f'gta5,steps=7,{network}'
  config = config_lib.load(f'configs/{page}.py:{override}')
  flat = config_lib.flatten(config)
  for key in keys:
    named = flat[key]
    assert named.endswith(f',{network}') and 'steps=7' not in named
    before = config_lib.load(named)
    assert before.model.backbone == 'vgg16'
    assert before.model.input_norm == 'caffe_vgg'
    stages.check_page(named, config)


@pytest.mark.parametrize(
  ('page', 'key', 'named'),
  [
    # BDL's stages start from one file, and see the same source images.
    (
      'bdl_ssl.py:gta5,init=w.pth,source.name=gta5/translated',
      'target.labels',
      'configs/bdl.py:gta5,init=w.pth,source.name=gta5/translated',
    ),
    # FADA's all start from ImageNet's weights (train_with_sd.sh).
    (
      'fada_distill.py:gta5,init=w.pth,model.encoder.variant=caffe',
      'source.labels',
      'configs/fada.py:gta5,init=(configs/fada_source.py:gta5,init=(w.pth),'
      'model.encoder.variant=caffe),model.encoder.variant=caffe',
    ),
    ('cbst.py:gta5,init=runs/mine', 'target.labels', 'runs/mine'),
    (
      'local_alignment.py:gta5,init=[configs/bdl_ssl.py:gta5,'
      'source.name=gta5/translated]',
      'source.name',
      'gta5/translated',
    ),
  ],
)
def test_stages_get_what_they_start_from(page, key, named):
  flat = config_lib.flatten(config_lib.load(f'configs/{page}'))
  assert flat[key] == named
  if named.startswith('configs/'):
    config_lib.load(named)


def test_labels_by_random_weights_beside_a_file():
  m1 = 'configs/bdl_ssl.py:gta5'
  for labels, good in ((m1, False), (f'({m1},init=w.pth)', True)):
    config = config_lib.load(f'{m1},init=w.pth,target.labels={labels}')
    if good:
      stages.check_labels(config, ['source', 'target'])
      continue
    with pytest.raises(
      UserError, match=r'random weights, .* from w\.pth: .*,init=w\.pth\)'
    ):
      stages.check_labels(config, ['source', 'target'])


@pytest.mark.parametrize('setting', ['gta5', 'synthia', 'streets', 'camvid'])
@pytest.mark.parametrize('page', tiny.pages())
def test_the_pages_own_stages_are_taken(page, setting):
  config = config_lib.load(f'configs/{page}.py:{setting}')
  stages.check_page(config.init, config)
  stages.check_labels(config, ['source', 'target'])


def test_labels_by_a_network_of_another_source():
  """M2 on translated images, from an M1 on those as they are."""
  m1, source = 'configs/bdl_ssl.py:gta5', 'source.name=gta5/translated'
  for labels in (m1, f'({m1},{source})'):
    config = config_lib.load(f'{m1},{source},target.labels={labels}')
    if source in labels:
      stages.check_labels(config, ['source', 'target'])
      continue
    with pytest.raises(
      UserError,
      match=r'trained on gta5, .* run on gta5/translated: .*gta5/translated\)',
    ):
      stages.check_labels(config, ['source', 'target'])


def test_a_page_gets_the_runs_seed():
  """Unless it names one itself; that of what it starts from is another's."""
  start = 'configs/fada.py:streets,init=runs/source-seed=0'
  assert stages.page(start, 2) == f'{start},seed=2'
  assert stages.page('configs/fada.py', 2) == 'configs/fada.py:seed=2'
  named = 'configs/fada.py:streets,seed=1'
  assert stages.page(named, 2) == named


def test_vgg16_learns_at_one_rate_in_adaptsegnet():
  """One parameter group, as in model/deeplab_vgg.py."""
  for page, factor in (
    ('adaptsegnet', 1.0),
    ('local_alignment', 1.0),
    ('fada', 10.0),
  ):
    network = '@VGG@,model.decoder.multi_level=False'
    config = config_lib.load(f'configs/{page}.py:gta5,{network}')
    assert config.optim.head_factor == factor
    config = config_lib.load(f'configs/{page}.py:gta5')
    assert config.optim.head_factor == 10.0


def test_a_start_that_is_named_is_taken_as_it_is():
  named = 'configs/bdl_ssl.py:streets,seed=1'
  config = config_lib.load(
    f'{LOCAL}:streets,init=({named}),model.encoder.width=8'
  )
  assert config.init == config.target.labels == named
  assert config.model.encoder.width == 8


def test_another_network_is_refused_before_its_stage_is_trained(
  streets_data, tmp_path, capsys
):
  first = 'configs/source_only.py:streets,model.encoder.width=8'
  page = str(tiny.ROOT / 'configs/advent.py') + ':streets'
  settings = [f'data_dir={streets_data}', *tiny_runs.SETTINGS]
  settings = [s for s in settings if not s.startswith(('patch', 'init'))]
  arguments = [f'--config.{s}' for s in settings]
  with pytest.raises(
    UserError, match=r'config\.init: .* is \(.*\) here and \(.*source_only\.py'
  ):
    tiny_runs.run(
      f'--config={page}',
      f'--workdir={tmp_path}/run',
      f'--config.init={first}',
      *arguments,
    )
  assert not list(tmp_path.iterdir())
  assert 'first stage' not in capsys.readouterr().out


def test_a_long_name_of_a_run_is_cut():
  """File systems take 255 bytes; what differs at its end still does."""
  names = {
    config_lib.run_name(f'configs/a.py:{"x" * 300}', [f'seed={seed}'])
    for seed in (1, 2)
  }
  assert len(names) == 2 and all(len(name) < 160 for name in names)
