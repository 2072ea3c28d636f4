"""The stages before a run: where they lie, and when they are trained."""

import pathlib
import re

import pytest
import tiny
import tiny_runs
from absl import flags

from jaxuda import config as config_lib
from jaxuda.torch_weights import export
from jaxuda.training import stages, start
from jaxuda.utils import lock
from jaxuda.utils.errors import UserError

RUN = pathlib.Path('runs/mine')
PRESETS = ('gta5', 'synthia', 'streets', 'camvid')

ELSEWHERE = """
from configs import _stages, advent_patch, source_only

def get_config(arg=None):
  config = advent_patch.get_config('streets,encoder=resnet')
  before = source_only.get_config('streets,encoder=resnet')
  _stages.start_from(config, before)
  config.name = 'elsewhere'
  {more}
  return config
"""


def load(name, *overrides, preset='streets'):
  return config_lib.load(f'configs/{name}.py:{preset}', overrides)


def folder(name, *overrides):
  """Return the folder of the first stage of a config's run."""
  return stages.stage_dir(load(name, *overrides).init_stage, RUN)


def all_stages(config):
  """Yield all stages before an experiment, however far."""
  for stage in config_lib.stages(config).values():
    yield stage
    yield from all_stages(stage)


def test_an_equal_stage_has_one_folder():
  first = folder('local_alignment')
  assert first.parent == RUN.parent
  name = 'adaptsegnet-streets-levels=1-seed=0-[0-9a-f]{8}'
  assert re.fullmatch(name, first.name)
  alone = load('adaptsegnet', preset='streets,levels=1')
  assert first == stages.stage_dir(alone, RUN)


@pytest.mark.parametrize(
  'override',
  [
    'steps=7',  # the run's own
    'optim.lr=1',
    'data_dir=/elsewhere',
    'init_stage.data_dir=/elsewhere',
    'init_stage.log_every=3',
    'init_stage.eval_every=3',
    'init_stage.checkpoint_every=3',
    'init_stage.num_log_images=1',
    'init_stage.max_nonfinite_steps=3',
    'init_stage.eval.batch_size=2',
    'init_stage.eval.size=64x128',
    'init_stage.eval.flip=True',
  ],
)
def test_what_does_not_change_its_folder(override):
  assert folder('local_alignment', override) == folder('local_alignment')


def test_what_changes_its_folder():
  """All that makes its network what it is, each in its own way."""
  overrides = (
    'model.decoder.width=8',
    'model.input_norm=torchvision',
    'classes=cityscapes19-sky',
    'seed=1',
    'init_stage.steps=7',
    'init_stage.optim.lr=1',
    'init_stage.source.flip=False',
    'init_stage.bn_mode=running',
    'init_stage.init=weights.pth',
    'init_stage.eval.network=ema',
  )
  found = {o: folder('local_alignment', o) for o in overrides}
  assert len({folder('local_alignment'), *found.values()}) == 1 + len(overrides)
  # The network and the seed are the run's: one object, under two names.
  for key in ('model.decoder.width=8', 'seed=1'):
    assert folder('local_alignment', f'init_stage.{key}') == found[key]
  other = folder('local_alignment').name.replace('=0', '=1')
  assert found['seed=1'].name == other
  # A stage depends on those before it.
  words = 'streets,start=bdl'

  def deep(*overrides):
    config = load('local_alignment', *overrides, preset=words)
    return stages.stage_dir(config.init_stage, RUN)

  before = 'init_stage.target.labels_stage'
  assert deep(f'{before}.steps=7') != deep()
  assert deep(f'{before}.log_every=7') == deep()


@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('name', tiny.configs())
def test_stages_share_network_classes_and_seed(name, preset):
  width = 'model.encoder.width=8'
  preset = f'{preset},encoder=resnet'
  config = load(name, width, 'seed=3', 'data_dir=/data', preset=preset)
  start.check_stage(config)
  for stage in all_stages(config):
    start.check_stage(stage)
    assert stage.model == config.model and stage.model.encoder.width == 8
    assert stage.classes == config.classes
    assert (stage.seed, stage.data_dir) == (3, '/data')


@pytest.mark.parametrize(
  ('name', 'count'),
  [
    ('fada', 1),
    ('local_alignment', 1),
    ('fada_distill', 2),
    ('bdl_ssl', 1),
    ('cbst', 2),
  ],
)
def test_stages_get_the_encoder_and_not_the_schedule(name, count):
  config = load(
    name,
    'steps=7',
    'model.input_norm=caffe_vgg',
    preset='gta5,encoder=vgg16',
  )
  before = list(all_stages(config))
  assert len(before) == count  # that of cbst starts a run, and labels for it
  for stage in before:
    assert stage.model.encoder.name == 'vgg16'
    assert stage.model.input_norm == 'caffe_vgg'
    assert stage.steps != 7


@pytest.mark.parametrize(
  ('argument', 'network'),
  [
    # Heads, summed branches, class space, how it is scored: each original's.
    ('gta5', (False, 2, 'cityscapes19', 'logits')),
    ('gta5,start=advent', (True, 4, 'cityscapes19', 'logits')),
    ('synthia', (False, 2, 'synthia16', 'logits')),
    ('synthia,start=bdl', (False, 4, 'synthia16in19', 'probabilities')),
  ],
)
def test_local_alignment_has_the_network_it_starts_from(argument, network):
  config = load('local_alignment', preset=argument)
  decoder = config.model.decoder
  assert network == (
    *(decoder.multi_level, decoder.aspp_branches),
    *(config.classes, config.eval.upsample),
  )
  before = config.init_stage
  assert before.model is config.model
  assert config.optim.duplicate_params == before.optim.duplicate_params
  if 'bdl' in argument:
    # "Their trained model" makes the labels (ICIP 2020, section 4).
    assert config.target.labels_stage is before
    assert config.pseudo.rule == 'median'
    assert config.loss_weights.seg_target_main == 1.0
  else:
    assert config.target.labels_stage is None and 'pseudo' not in config


def test_vgg16_learns_at_one_rate_in_adaptsegnet():
  """One parameter group, as in model/deeplab_vgg.py."""
  for name, factor in (
    ('adaptsegnet', 1.0),
    ('local_alignment', 1.0),
    ('fada', 10.0),
  ):
    config = load(name, preset='gta5,encoder=vgg16')
    assert config.optim.head_factor == factor
    assert load(name, preset='gta5').optim.head_factor == 10.0


def test_what_a_run_starts_from():
  config = load('local_alignment')
  first = stages.stage_dir(config.init_stage, RUN)
  assert stages.init_dir(config, RUN) == first
  assert stages.init_title(config) == 'adaptsegnet-streets-levels=1'
  for named in ('elsewhere/run', 'elsewhere/weights.pth'):
    config = load('local_alignment', f'init={named}')
    assert stages.init_dir(config, RUN) == pathlib.Path(named)
    assert stages.init_title(config) == pathlib.Path(named).name
  config = load('local_alignment', 'init_stage=None')
  assert stages.init_dir(config, RUN) is None


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['run', 'file'])
def test_init_wins_over_the_first_stage(
  kind, finished_run, streets_data, tmp_path, capsys
):
  """Which is not trained."""
  named, step = finished_run.workdir, 9
  if kind == 'file':
    named, step = tmp_path / 'x.safetensors', 0
    export.export(finished_run.workdir, named)
  workdir = tmp_path / 'runs' / 'run'
  command = tiny_runs.command(
    workdir, streets_data, f'init={named}', 'steps=1', stages=True
  )
  assert tiny_runs.run(*command) == 0
  said = capsys.readouterr().out
  assert f'starting from {named}, step {step}' in said
  assert f'at its start, {named.name}' in said
  assert 'stage: ' not in said and 'random weights' not in said
  assert list(workdir.parent.iterdir()) == [workdir]
  name = config_lib.read_run(workdir).init_stage.name
  assert name == 'source_only-streets-encoder=resnet'


def test_another_network_is_refused_before_its_stage_is_trained(
  streets_data, tmp_path, capsys
):
  config = tmp_path / 'elsewhere.py'
  copied = 'config.model.copy_and_resolve_references()'
  config.write_text(
    ELSEWHERE.format(more=f'config.init_stage.model = {copied}')
  )
  command = tiny_runs.command(
    tmp_path / 'run',
    streets_data,
    'init_stage.model.encoder.width=8',
    config=str(config),
    stages=True,
  )
  with pytest.raises(
    UserError,
    match=r'^config\.init_stage: batch_stats/encoder/bn1/mean is \(4,\) here '
    r'and \(8,\) in source_only-streets-encoder=resnet\.$',
  ):
    tiny_runs.run(*command)
  assert {p.name for p in tmp_path.iterdir()} <= {config.name, '__pycache__'}
  assert 'stage' not in capsys.readouterr().out


@pytest.mark.slow
def test_two_runs_started_together_share_their_stage(streets_data, tmp_path):
  """One trains it, the other one waits.

  From another working directory, where they and the stage lie; the config of
  one is a file elsewhere on disk.
  """
  config = tmp_path / 'configs' / 'elsewhere.py'
  config.parent.mkdir()
  config.write_text(ELSEWHERE.format(more=''))
  commands = [
    tiny_runs.command(
      pathlib.Path('runs') / name,
      streets_data,
      'init_stage.steps=2',
      'steps=2',
      config=spec,
      stages=True,
    )
    for name, spec in (('one', str(config)), ('two', tiny_runs.CONFIG))
  ]
  loaded = config_lib.load(
    tiny_runs.CONFIG,
    [f.removeprefix('--config.') for f in commands[1] if '--config.' in f],
  )
  first = stages.stage_dir(loaded.init_stage, tmp_path / 'runs' / 'two')
  with lock.hold(first.with_name(f'.{first.name}.lock')):
    children = [tiny_runs.start(*c, cwd=tmp_path) for c in commands]
    for child in children:
      line = tiny_runs.wait_for(child, 'waiting')
      assert f'{first.name}: waiting for another run' in line
  ends = [child.communicate(timeout=300) for child in children]
  assert [child.returncode for child in children] == [0, 0], ends
  said = [out for out, _ in ends]
  assert sorted(out.count('stage: ') for out in said) == [0, 1]
  assert sorted(out.count('stage done') for out in said) == [0, 1]
  for out in said:
    assert f'starting from runs/{first.name}, step 2' in out
    assert 'at its start, source_only-streets-encoder=resnet' in out
  assert {p.name for p in (tmp_path / 'runs').iterdir()} == {
    first.name, 'one', 'two',
  }  # fmt: skip
  ones, twos = (tiny_runs.state(tmp_path / 'runs' / n) for n in ('one', 'two'))
  assert tiny.same(ones, twos)


def test_a_long_name_of_a_run_is_cut(tmp_path):
  """File systems take 255 bytes; what differs at its end still does."""
  config = tmp_path / f'{"a" * 200}.py'
  config.write_text(ELSEWHERE.format(more=''))
  names = set()
  for seed in (1, 2):
    given = flags.FlagValues()
    argv = ['main', f'--config={config}', f'--config.seed={seed}']
    argv = config_lib.define(given, argv)
    config_lib.parse_flags(given, argv)
    names.add(config_lib.run_name(given, argv))
  assert len(names) == 2 and all(len(name) < 160 for name in names)
