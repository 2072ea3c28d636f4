"""How a config is loaded: its argument, overrides by flags, and refusals."""

import pytest
import tiny
from absl import flags

from jaxuda import config as config_lib
from jaxuda import experiment
from jaxuda.config import defaults
from jaxuda.models import norm, segmenter
from jaxuda.pseudo_labels import rules
from jaxuda.utils import names
from jaxuda.utils.errors import UserError


def load(words='gta5', *overrides, name='advent_patch'):
  return config_lib.load(f'configs/{name}.py:{words}', overrides)


@pytest.mark.parametrize(
  ('override', 'value'),
  [
    ('steps=300', 300),
    ('steps=1_000', 1000),
    ('optim.lr=1e-3', 1e-3),
    ('optim.lr=1', 1.0),
    ('optim.decay_steps=None', None),
    ('optim.decay_steps=7', 7),
    ('patch.size=None', None),
    ('init=runs/source', 'runs/source'),
    ('init=None', None),
    ('init=a,b=(c)', 'a,b=(c)'),
    ('classes=synthia16', 'synthia16'),
    ('source.flip=True', True),
    ('source.flip=true', True),
    ('source.size=64x96', (64, 96)),
    ('source.size=(64,96)', (64, 96)),
    ('source.size=None', None),
    ('source.jitter=(1,0,0.5,0)', (1, 0, 0.5, 0)),
    ('eval.scales=(0.5,1)', (0.5, 1)),
    ('eval.scales=0.5,1', (0.5, 1)),
    ('model.decoder.dilations=(6,12)', (6, 12)),
    ('loss_weights.adv_main=1', 1.0),
    ('init_unused=(fc)|(aux)', '(fc)|(aux)'),
    ('init_fresh=layer[56].*', 'layer[56].*'),
  ],
)
def test_override(override, value):
  key = override.partition('=')[0]
  config = load('gta5', override)
  config_lib.check_values(config)
  flat = config_lib.flatten(config)
  assert flat[key] == value and type(flat[key]) is type(value)
  before = config_lib.flatten(load())
  assert {k for k in flat if flat[k] != before[k]} <= {key}


def test_words_of_the_argument():
  assert load('') == load('gta5') == load('preset=gta5')
  config = load('streets,encoder=vgg16')
  assert config.target.name == 'streets/city'
  assert config.model.encoder.name == 'vgg16'
  assert config.name == 'advent_patch-streets-encoder=vgg16'


def test_flags_in_any_order():
  """As absl has it: one dash or two, the value behind '=' or a space."""
  given = flags.FlagValues()
  flags.DEFINE_string('workdir', None, '', flag_values=given)
  argv = [
    *('main', '--config.steps=3', '-config.optim.lr', '0.1', '--workdir=w'),
    *('--config', 'configs/advent.py:streets', '--config.source.flip'),
  ]
  argv = config_lib.define(given, argv)
  assert config_lib.parse_flags(given, argv) == []
  config = config_lib.value(given)
  assert (config.steps, config.optim.lr) == (3, 0.1)
  assert config.source.flip is True and given.workdir == 'w'
  assert config.is_locked


def test_the_last_override_counts():
  assert load('gta5', 'steps=3', 'steps=4').steps == 4


def from_flags(*argv, name='advent'):
  given = flags.FlagValues()
  argv = ['main', f'--config=configs/{name}.py:streets', *argv]
  config_lib.parse_flags(given, config_lib.define(given, argv))
  return config_lib.value(given)


@pytest.mark.parametrize(
  ('argv', 'flip'),
  [
    (['--config.source.flip', '--config.source.flip=False'], False),
    (['--config.source.flip', '--noconfig.source.flip'], False),
    (['--noconfig.source.flip', '--config.source.flip=True'], True),
    (['-noconfig.source.flip', '-config.source.flip'], True),
  ],
)
def test_the_last_override_of_a_boolean_counts(argv, flip):
  assert from_flags(*argv).source.flip is flip


def test_a_boolean_that_may_be_none():
  for flag, flip in (('--config', True), ('--noconfig', False)):
    config = from_flags(f'{flag}.pseudo.flip', name='bdl_ssl')
    assert config.pseudo.flip is flip


def test_what_takes_no_value():
  with pytest.raises(UserError, match="flip takes no value, not 'True'"):
    from_flags('--noconfig.source.flip=True')
  with pytest.raises(UserError, match="steps takes int, not 'False'"):
    from_flags('--noconfig.steps')


def test_no_stage_in_two_words():
  assert from_flags('--config.init_stage', 'None').init_stage is None
  with pytest.raises(UserError, match=r'config\.init_stage takes ConfigDict'):
    from_flags('--config.init_stage')


def test_from_any_directory(tmp_path, monkeypatch):
  """The file is found beside jaxuda, with the stages before it."""
  here = load('streets', name='local_alignment')
  monkeypatch.chdir(tmp_path)
  assert load('streets', name='local_alignment') == here
  absolute = config_lib.load(f'{tiny.ROOT}/configs/local_alignment.py:streets')
  assert absolute == here
  assert absolute.init_stage.name == 'adaptsegnet-streets-levels=1'


def test_a_file_anywhere_is_a_config(tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text(
    'from configs import advent\n'
    'def get_config(arg=None):\n'
    '  config = advent.get_config(arg)\n'
    '  config.steps = 5\n'
    '  return config\n'
  )
  config = config_lib.load(f'{file}:streets')
  assert config.method == 'advent' and config.steps == 5


def test_stages_share_what_must_be_equal():
  """The network, classes, seed and data folder, to the stage of a stage."""
  config = config_lib.load(
    'configs/fada_distill.py:gta5',
    ['seed=7', 'data_dir=d', 'classes=synthia16', 'model.encoder.width=8'],
  )
  stages = [config.source.labels_stage]
  stages.append(stages[0].init_stage)
  assert [stage.method for stage in stages] == ['fada', 'source_only']
  for stage in stages:
    assert (stage.seed, stage.data_dir) == (7, 'd')
    assert stage.classes == 'synthia16'
    assert stage.model.encoder.width == 8
    assert stage.steps != 7


def test_stages_are_overridden_by_their_keys():
  config = load('streets', 'init_stage.steps=9', name='local_alignment')
  assert config.init_stage.steps == 9 and config.steps != 9


@pytest.mark.parametrize(
  ('override', 'left'),
  [
    ('init_stage=None', {'target.labels_stage'}),
    ('init=RUN', {'target.labels_stage'}),
    ('target.labels=RUN', {'init_stage'}),
  ],
)
def test_a_stage_that_something_replaces(override, left):
  before = config_lib.stages(load('streets', name='cbst'))
  assert set(before) == {'target.labels_stage', 'init_stage'}
  config = load('streets', override, name='cbst')
  assert set(config_lib.stages(config)) == left


@pytest.mark.parametrize(
  ('words', 'sentence'),
  [
    ('sinthia', "'sinthia' is no preset; did you mean 'synthia'"),
    ('qqqq', "'qqqq' is no preset; there are gta5, synthia, bdd100k"),
    ('streets,camvid', "'camvid': preset is given twice"),
    ('encoder=vgg', "'vgg' is no encoder; did you mean 'vgg16'"),
    ('steps=3', 'steps is not declared.*flags, --config.KEY=VALUE'),
  ],
)
def test_refused_words(words, sentence):
  with pytest.raises(UserError, match=sentence):
    load(words)


def test_levels():
  one, two = (load(f'gta5,levels={n}', name='adaptsegnet') for n in (1, 2))
  assert two == load('gta5', name='adaptsegnet')
  assert two.model.decoder.multi_level and not one.model.decoder.multi_level
  assert one.name == 'adaptsegnet-gta5-levels=1'
  for n in (0, 3):
    with pytest.raises(UserError, match=rf"'{n}' is no levels; there are 2, 1"):
      load(f'gta5,levels={n}', name='adaptsegnet')


@pytest.mark.parametrize('word', ['round=1', 'round=x', 'round=-2', 'round=0'])
def test_rounds(word):
  if word == 'round=1':
    assert load(f'streets,{word}', name='cbst') == load('streets', name='cbst')
  else:
    with pytest.raises(UserError, match='must be a whole number'):
      load(f'streets,{word}', name='cbst')


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    ('step=3', "no key 'step'; did you mean 'steps'"),
    ('optim.lrr=3', "no key 'optim.lrr'; did you mean 'optim.lr'"),
    ('lr=3', "no key 'lr'; did you mean 'optim.lr'"),
    ('optim=3', "no key 'optim'; it holds .*optim.lr"),
    ('qqqq=3', "no key 'qqqq'; there are .*steps"),
    ('loss_weights.adv_mian=1', "did you mean 'loss_weights.adv_main'"),
    ('steps=many', "config.steps takes int, not 'many'"),
    ('steps=1.5', "config.steps takes int, not '1.5'"),
    ('optim.lr=fast', 'config.optim.lr takes float'),
    ('source.flip=maybe', 'config.source.flip takes bool'),
    ('patch.size=half', 'config.patch.size takes int'),
    ('method=fada', 'method is chosen by the config file'),
    ('model.encoder.name=vgg16', r'name is chosen by .*encoder=vgg16'),
  ],
)
def test_refused_overrides(override, sentence):
  with pytest.raises(UserError, match=sentence):
    load('gta5', override)


def test_not_all_keys_are_listed():
  with pytest.raises(UserError) as e:
    load('gta5', 'qqqq=3')
  assert len(str(e.value)) < 400 and 'optim.' not in str(e.value)
  near = names.nearest('a.qqqq', ['a.steps', 'b.steps', 'a.seed'])
  assert near == '; there are a.steps, a.seed.'
  assert names.nearest('q', map(str, range(99))).endswith(', 23, ...')


def test_choices_are_what_is_implemented():
  for key, implemented in {
    'bn_mode': norm.MODES,
    'model.input_norm': segmenter.INPUT_NORMS,
    'pseudo.rule': rules.RULES,
  }.items():
    assert defaults.SETTINGS[key].choices == tuple(implemented), key


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    ('steps=None', 'config.steps=None must be a whole number'),
    ('steps=0', 'config.steps=0 must be at least 1'),
    ('seed=-1', 'config.seed=-1 must be at least 0'),
    ('source.size=64', r'config.source.size=\(64,\) must be 2 whole numbers'),
    ('source.size=(1,2,3)', 'config.source.size.* must be 2 whole numbers'),
    ('source.size=(64.0,96)', 'config.source.size.* must be 2 whole numbers'),
    ('source.jitter=(0.1,0.1)', 'config.source.jitter.* must be 4 numbers'),
    ('model.encoder.blocks=(1,2)', 'encoder.blocks.* must be 4 whole numbers'),
    ('eval.scales=()', 'config.eval.scales.* must be one or more numbers'),
    ('eval.scales=(20.0,)', 'config.eval.scales.* at least 0.1 and at most 10'),
    ('eval.batch_size=None', 'config.eval.batch_size=None must be'),
    ('bn_mode=sync', "bn_mode='sync' is none of batch, running"),
    ('model.dtype=float16', "model.dtype='float16' is none of"),
    ('model.encoder.variant=fb', "encoder.variant='fb' is none of"),
    ('optim.name=adam', "optim.name='adam' is none of sgd, adamw"),
    ('bn_stats_from=source', "bn_stats_from='source' is none of both, target"),
    ('classes=coco', "there is no class space 'coco'"),
    ('information=normalized', "information='normalized' is none of"),
    ('objective=flipped', "objective='flipped' is none of"),
    ('discriminator.outputs=3', 'outputs=3 is none of 1, 2'),
  ],
)
def test_values_that_nothing_implements(override, sentence):
  with pytest.raises(UserError, match=sentence):
    experiment.build(load('gta5', override))


def test_an_encoder_that_does_not_fit_its_decoder():
  config = load('gta5,encoder=vgg16', 'model.decoder.multi_level=True')
  with pytest.raises(UserError, match='multi_level=True needs an encoder with'):
    experiment.build(config)


def test_another_rule_of_pseudo_labels():
  """A setting of another rule is refused once it is given, not before."""
  config = load('streets', 'pseudo.rule=argmax', name='bdl_ssl')
  config_lib.check_values(config)
  assert config.pseudo.rule == 'argmax'
  config = load('streets', 'pseudo.portion=2', name='bdl_ssl')
  with pytest.raises(UserError, match=r'pseudo\.portion=2.* at most 1'):
    config_lib.check_values(config)


def test_refused_files():
  with pytest.raises(UserError, match=r"mean 'configs/advent_patch\.py'"):
    config_lib.load('configs/advent_pach.py:streets')
  with pytest.raises(UserError, match="'configs' does not exist"):
    config_lib.load('configs')


def run_name(*argv):
  given = flags.FlagValues()
  argv = config_lib.define(given, ['main', *argv])
  config_lib.parse_flags(given, argv)
  return config_lib.run_name(given, argv)


def test_run_names():
  assert run_name('--config=configs/advent.py') == 'advent'
  name = run_name(
    '--config=configs/advent.py:streets',
    *('--config.steps=3', '--config.seed=1'),
  )
  assert name == 'advent-streets-steps=3-seed=1'
  overridden = run_name('--config=configs/advent.py', '--config.init=runs/x/y')
  assert '/' not in overridden
