"""Config pages: each loads and builds, and what is written over them."""

import functools
import json
import types

import jax
import jax.numpy as jnp
import pytest
import tiny
from jaxuda.models.deeplab import Outputs

from jaxuda import experiment, labels, methods
from jaxuda.config import loading as config_lib
from jaxuda.utils.errors import UserError

SETTINGS = ('gta5', 'synthia', 'streets', 'camvid')
KEY = jax.random.key(0)


def load(page, *arguments):
  argument = ','.join(arguments)
  return config_lib.load(f'{tiny.ROOT}/configs/{page}.py:{argument}')


def emitted(config) -> set[str]:
  """The terms of one step, from the shapes of the nets that are built."""
  nets, _ = experiment.build(config)
  method = methods.load(config.method)
  if hasattr(method, 'check'):
    method.check(config)
  net = nets.segmenter.clone(blocks=(1, 1, 1, 1))  # quicker, the same heads

  def terms(image):
    (logits, features), variables = net.init_with_output(
      KEY, image, train=False
    )
    size = (*config.target.size, net.num_classes)
    wide = {k: jnp.zeros((1, *size)) for k in logits}
    shown = Outputs(wide, features)

    def discriminate(name, view):
      return nets.discriminators[name].init_with_output(KEY, view)[0]

    outputs = dict.fromkeys(method.streams, shown)
    label = {'label': jnp.zeros((1, *config.target.size), int)}
    batch = dict.fromkeys(method.streams, label)
    keys, params = jax.random.split(KEY, 1), variables['params']
    turn = methods.Turn(outputs, batch, discriminate, keys, params, 0, config)
    own = method.segmenter_losses(turn) | method.discriminator_losses(turn)
    labelled = ['seg'] + ['seg_target'] * bool(config.target.labels)
    labelled += ['seg_labelled'] * ('labelled' in method.streams)
    return own | {
      f'{name}_{level}': jnp.zeros(()) for name in labelled for level in logits
    }

  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
  return set(jax.eval_shape(terms, image))


@pytest.mark.parametrize('setting', SETTINGS)
@pytest.mark.parametrize('page', tiny.pages())
def test_every_page_builds_and_weighs_its_terms(page, setting):
  config = load(page, setting)
  assert config.is_locked
  both = config.model.decoder.multi_level
  weights = {k for k in config.loss_weights if both or not k.endswith('_aux')}
  assert emitted(config) == weights
  if setting in ('streets', 'camvid'):  # a short schedule that ends at zero
    assert config.optim.decay_steps is None and config.steps <= 600


def test_settings_and_methods_are_all_tested():
  common = config_lib.load(f'{tiny.ROOT}/configs/advent.py')
  assert common == load('advent', 'gta5')  # the default
  with pytest.raises(UserError) as refused:
    load('advent', 'zzz')
  named = str(refused.value).rpartition('there are ')[2].rstrip('.')
  assert tuple(named.split(', ')) == SETTINGS
  for method in tiny.method_pages():
    assert load(method).method == method


def test_the_papers_experiment():
  """Cicek et al., section 4.1 and Fig. 8a; the rest is ADVENT's."""
  flat = config_lib.flatten(load('advent_patch'))
  expected = {
    'steps': 150_000,
    'source.name': 'gta5',
    'source.size': (720, 1280),
    'source.batch_size': 1,
    'target.name': 'cityscapes',
    'target.size': (512, 1024),
    'target.batch_size': 1,
    'eval.name': 'cityscapes',
    'classes': 'cityscapes19',
    'model.backbone': 'resnet',
    'model.encoder.blocks': (3, 4, 23, 3),
    'model.encoder.width': 64,
    'model.decoder.dilations': (6, 12, 18, 24),
    'bn_mode': 'running',
    'optim.lr': 2.5e-4,
    'optim.head_factor': 10.0,
    'optim.momentum': 0.9,
    'optim.weight_decay': 5e-4,
    'optim.power': 0.9,
    'optim.decay_steps': 250_000,
    'discriminator.lr': 1e-4,
    'discriminator.outputs': 2,
    'loss_weights.seg_source_main': 1.0,
    'loss_weights.seg_source_aux': 0.1,
    'loss_weights.adv_main': 0.001,
    'loss_weights.adv_aux': 0.0002,
    'patch.size': 256,
    'information': 'natural',
    'objective': 'flipped',
  }
  assert {k: flat[k] for k in expected} == expected
  synthia = load('advent_patch', 'synthia')
  assert synthia.source.name == 'synthia'
  assert synthia.source.size == (760, 1280)
  assert synthia.target.size == (512, 1024) and synthia.steps == 150_000
  space = labels.space(synthia.classes)
  assert len(space.classes) == 16
  assert list(space.subsets) == ['mIoU-16', 'mIoU-13']


def test_the_embedded_default_is_small():
  """deeplabv2_small: 1 to 2 million parameters."""
  net = experiment.segmenter(load('advent_patch', 'streets'))
  image = jax.ShapeDtypeStruct((1, 96, 192, 3), jnp.uint8)
  init = functools.partial(net.init, train=False)
  params = jax.eval_shape(init, KEY, image)['params']
  assert 1e6 < sum(leaf.size for leaf in jax.tree.leaves(params)) < 2e6


@pytest.mark.parametrize(
  ('override', 'key', 'value'),
  [
    ('steps=300', 'steps', 300),
    ('steps=1_000', 'steps', 1000),
    ('optim.lr=1e-3', 'optim.lr', 1e-3),
    ('optim.lr=1', 'optim.lr', 1.0),
    ('optim.decay_steps=None', 'optim.decay_steps', None),
    ('optim.decay_steps=7', 'optim.decay_steps', 7),
    ('patch.size=None', 'patch.size', None),
    ('init=runs/source', 'init', 'runs/source'),
    ('init=None', 'init', None),
    ('classes=synthia16', 'classes', 'synthia16'),
    ('source.flip=True', 'source.flip', True),
    ('source.flip=true', 'source.flip', True),
    ('source.size=64x96', 'source.size', (64, 96)),
    ('source.size=(64,96)', 'source.size', (64, 96)),
    ('source.size=[64, 96]', 'source.size', (64, 96)),
    ('source.size=None', 'source.size', None),
    ('source.jitter=(1,0,0.5,0)', 'source.jitter', (1.0, 0.0, 0.5, 0.0)),
    ('eval.scales=(0.5,1)', 'eval.scales', (0.5, 1.0)),
    ('model.decoder.dilations=(6,12)', 'model.decoder.dilations', (6, 12)),
    ('seed=-1', 'seed', -1),
    ('init_unused=(fc)|(aux)', 'init_unused', '(fc)|(aux)'),
    ('init_fresh=layer[56].*', 'init_fresh', 'layer[56].*'),
    ('init=(a.py:x=(1,2),y=3)', 'init', 'a.py:x=(1,2),y=3'),
  ],
)
def test_override(override, key, value):
  config = load('advent_patch', 'gta5', override)
  flat = config_lib.flatten(config)
  assert flat[key] == value and type(flat[key]) is type(value)
  if isinstance(value, tuple):
    assert [type(v) for v in flat[key]] == [type(v) for v in value]
  before = config_lib.flatten(load('advent_patch', 'gta5'))
  assert {k for k in flat if flat[k] != before[k]} <= {key}


def test_overrides_combine():
  config = config_lib.load(
    f'{tiny.ROOT}/configs/advent.py:streets,source.crop=(64,64), seed=3',
    ['steps=300', 'source.crop=(32,32)'],
  )
  assert config.target.name == 'streets/city'
  assert (config.seed, config.steps) == (3, 300)
  assert config.source.crop == (32, 32)  # the flag stands behind the argument


@pytest.mark.parametrize(
  ('flag', 'key', 'value'),
  [
    ('source.size=64,96', 'source.size', (64, 96)),
    ('source.size=[64,96]', 'source.size', (64, 96)),
    ('init=a.py:camvid,steps=3', 'init', 'a.py:camvid,steps=3'),
    ('init=a.py:x.crop=(1,2),steps=3', 'init', 'a.py:x.crop=(1,2),steps=3'),
  ],
)
def test_a_flags_value_may_hold_commas(flag, key, value):
  path = f'{tiny.ROOT}/configs/advent.py:streets'
  changed = config_lib.flatten(config_lib.load(path, [flag]))
  before = config_lib.flatten(config_lib.load(path))
  assert changed == before | {key: value}


@pytest.mark.parametrize(
  ('argument', 'sentence'),
  [
    ('sinthia', "'sinthia' is neither a setting .* did you mean 'synthia'"),
    ('streets,camvid', r"several settings: \['streets', 'camvid'\]"),
    ('step=3', "no key 'step'; did you mean 'steps'"),
    ('optim.lrr=3', "no key 'optim.lrr'; did you mean 'optim.lr'"),
    ('lr=3', "no key 'lr'; did you mean 'optim.lr'"),
    ('optim=3', "no key 'optim'; it holds optim.head_factor, .*optim.lr"),
    ('qqqq=3', "no key 'qqqq'; there are .*steps"),
    ('steps=many', "config.steps takes int, like 150000, not 'many'"),
    ('steps=1.5', "config.steps takes int, .* not '1.5'"),
    ('steps=True', 'config.steps takes int'),
    ('steps=None', "config.steps takes int, .* not 'None'"),
    ('optim.lr=fast', 'config.optim.lr takes float'),
    ('source.flip=1', 'config.source.flip takes bool'),
    ('source.size=64', 'config.source.size takes tuple or None'),
    ('source.size=(1,2,3)', 'config.source.size takes tuple'),
    ('source.size=(64.0,96)', 'config.source.size takes tuple'),
    ('source.jitter=(0.1,0.1)', 'config.source.jitter takes tuple'),
    ('model.encoder.blocks=(1,2)', 'config.model.encoder.blocks takes tuple'),
    ('eval.scales=1.0', 'config.eval.scales takes tuple'),
    ('eval.scales=()', 'config.eval.scales takes tuple'),
    ('eval.batch_size=None', 'config.eval.batch_size takes int'),
    ('patch.size=half', 'config.patch.size takes int or None'),
    ('loss_weights.adv_mian=1', "did you mean 'loss_weights.adv_main'"),
  ],
)
def test_refused(argument, sentence):
  with pytest.raises(UserError, match=sentence):
    load('advent_patch', argument)


def test_refused_pages(monkeypatch):
  monkeypatch.chdir(tiny.ROOT)
  with pytest.raises(UserError, match=r"mean 'configs/advent_patch\.py'"):
    config_lib.load('configs/advent_pach.py:streets')
  with pytest.raises(UserError, match="'configs' does not exist"):
    config_lib.load('configs')


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    ('bn_mode=sync', "model.norm='sync' is none of .*running"),
    ('model.dtype=float16', "model.dtype='float16' is none of"),
    ('model.backbone=resnet50', "model.backbone='resnet50' is none of"),
    ('optim.name=adam', "optim.name='adam' is none of sgd, adamw"),
    ('bn_stats_from=source', "statistics='source' is none of"),
    ('classes=coco', "unknown class space 'coco'"),
    ('method=fada2', r'by its page: --config=configs/fada2\.py'),
    ('information=normalized', "information='normalized' is none of"),
    ('objective=minimax', "objective='minimax' is none of"),
    ('discriminator.outputs=3', 'outputs=3 is none of 1, 2'),
    ('@VGG@', 'multi_level=True needs the ResNet'),
  ],
)
def test_settings_that_nothing_implements(override, sentence):
  with pytest.raises(UserError, match=sentence):
    experiment.build(load('advent_patch', override))


@pytest.mark.parametrize('page', tiny.pages())
def test_a_config_survives_its_json(page, tmp_path):
  config = load(page)
  text = json.dumps(config_lib.to_json(config))
  (tmp_path / 'config.json').write_text(text)
  assert config_lib.read_run(tmp_path).to_dict() == config.to_dict()


def test_flags_that_override():
  """--config.KEY=VALUE and --config.KEY VALUE; the rest is absl's."""
  rest, overrides = config_lib.split_overrides(
    ['main', '--config=a.py', '--config.steps=3', '-config.optim.lr', '0.1',
     '--workdir=w', '--config.init=configs/b.py:seed=1']
  )  # fmt: skip
  assert rest == ['main', '--config=a.py', '--workdir=w']
  assert overrides == ['steps=3', 'optim.lr=0.1', 'init=configs/b.py:seed=1']


def test_run_names():
  assert config_lib.run_name('configs/advent.py') == 'advent'
  name = config_lib.run_name('configs/advent.py:streets,steps=3', ['seed=1'])
  assert name == 'advent-streets-steps=3-seed=1'
  assert '/' not in config_lib.run_name('a.py:init=runs/x,source.crop=(1,2)')


def test_a_module_is_a_page(tmp_path):
  """Pages may lie anywhere; a page is a file with get_config."""
  page = tmp_path / 'mine.py'
  page.write_text(
    'from configs import advent\n'
    'def get_config(arg=None):\n'
    '  return advent.get_config(arg)\n'
  )
  config = config_lib.load(f'{page}:streets,steps=5')
  assert config.method == 'advent' and config.steps == 5
  assert isinstance(methods.load(config.method), types.ModuleType)


def test_brackets_within_brackets():
  """A chain of pages, each with settings of its own."""
  inner = 'configs/bdl.py:streets,steps=2,init=[a.py:x,size=(3,4)],seed=1'
  config = config_lib.load(
    f'{tiny.ROOT}/configs/bdl_ssl.py:streets,steps=3',
    [f'target.labels={inner}', 'seed=2'],
  )
  assert config.target.labels == inner
  assert (config.steps, config.seed) == (3, 2)
  assert config_lib.given(inner.partition(':')[2], 'init') == (
    '[a.py:x,size=(3,4)]'
  )


def test_brackets_keep_a_value_with_commas_whole():
  for text in ('[a.py:streets,steps=3]', '(a.py:streets,steps=3)'):
    config = load('advent_patch', f'streets,init={text}')
    assert config.init == 'a.py:streets,steps=3'
