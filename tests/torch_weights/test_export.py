"""Runs of all methods as PyTorch files, and back from them bit for bit."""

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny
from tiny_runs import write_run

from jaxuda import methods, weights
from jaxuda.torch_weights import export, layouts, load
from jaxuda.torch_weights import files as torch_files
from jaxuda.utils.errors import UserError

ADAPTSEGNET = {'aux': '_D1', 'main': '_D2'}
ADVENT = {'aux': '_D_aux', 'main': '_D_main'}

# Behind the segmenter's name, for the file of each discriminator.
SUFFIXES = {
  'adapt_patch': ADAPTSEGNET | {'modes': '_D_modes', 'patch': '_D_patch'},
  'adaptsegnet': ADAPTSEGNET,
  'advent': ADVENT,
  'advent_patch': ADVENT,
  'ass': ADAPTSEGNET | {'semantic': '_D_semantic'},
  'clan': {'main': '_D2'},
  'cycada': {'main': '_D_main'},
  'fada': {'main': ''},  # in one file with the segmenter
  'local_alignment': ADAPTSEGNET | {'local': '_D_local'},
  'no_more_discrimination': {'main': '_D_main'},
  'road': {'region': '_D_region'},
}

# So that a method has all its discriminators.
MORE = {'local_alignment': ['local.global_alignment=segmentations']}


def settings(name, encoder):
  """Return a method's config with an encoder; None where they do not fit."""
  more = MORE.get(name, [])
  if encoder == 'vgg16':
    more = [*more, 'model.decoder.multi_level=False']  # it has one map
  config = tiny.config(f'{name}:encoder={encoder}', *more)
  try:
    methods.load(config.method).check(config)
  except UserError:
    assert name in ('clan', 'mcd') and encoder == 'vgg16'  # two heads
    return None
  return config


def assert_same(found, expected):
  assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, expected)
  assert tiny.same(found, expected)


@pytest.mark.parametrize('encoder', ['resnet', 'vgg16'])
def test_every_network_comes_back(method_config, encoder, tmp_path):
  config = settings(method_config, encoder)
  if config is None:
    return
  networks = write_run(config, tmp_path / 'run')
  output = tmp_path / 'files' / 'x.safetensors'
  files = export.export(tmp_path / 'run', output)
  run, found = load.load_segmenter(config, output)
  assert found.complete
  assert_same(
    {'params': run.params, 'batch_stats': run.batch_stats},
    networks[config.eval.network],
  )
  expected = networks['discriminators']['params']
  suffixes = SUFFIXES.get(method_config, {})
  paths = {
    name: output.with_name(f'x{suffixes[name]}.safetensors')
    for name in expected
  }
  assert set(files) == {output, *paths.values()} == set(output.parent.iterdir())
  assert expected.keys() == suffixes.keys() - (
    {'aux'} if encoder == 'vgg16' else set()
  )
  with config.unlocked(), config.ignore_type():
    config.discriminator.init = ','.join(f'{k}={v}' for k, v in paths.items())
  assert_same(load.load_discriminators(config), expected)


def test_names_of_our_own(tmp_path):
  """Any network has them; two parts may have a layer of one name."""
  networks = write_run(settings('source_only', 'resnet'), tmp_path / 'run')
  output = tmp_path / 'x.pth'
  export.export(tmp_path / 'run', output, layout='jaxuda')
  found = torch_files.read(output)
  assert {key.partition('.')[0] for key in found} == {'encoder', 'decoder'}
  kernel = networks['segmenter']['params']['encoder']['conv1']['kernel']
  np.testing.assert_array_equal(
    found['encoder.conv1.weight'], kernel.transpose(3, 2, 0, 1)
  )
  config = tiny.config('source_only:encoder=resnet')
  run, match = load.load_segmenter(config, output)
  assert match.complete and match.layout.name == 'jaxuda'
  assert_same(
    {'params': run.params, 'batch_stats': run.batch_stats},
    networks['segmenter'],
  )


def test_a_teacher_is_exported_in_the_segmenters_place(tmp_path, capsys):
  config = tiny.config('mean_teacher')
  networks = write_run(config, tmp_path / 'run')
  output = tmp_path / 'teacher.safetensors'
  command = ['export', f'--workdir={tmp_path}/run', f'--output={output}']
  assert weights.main(['weights', *command, '--network=ema']) == 0
  assert capsys.readouterr().out == f'{output}\n'
  run, _ = load.load_segmenter(config, output)
  found = {'params': run.params, 'batch_stats': run.batch_stats}
  assert_same(found, networks['ema'])
  assert not tiny.same(found, networks['segmenter'])
  write_run(tiny.config('advent:encoder=resnet'), tmp_path / 'advent')
  with pytest.raises(UserError, match='run of advent, which has no teacher'):
    export.export(tmp_path / 'advent', output, network='ema')


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'modules'),
  [
    ('advent', {'conv1': '0', 'conv2': '2', 'conv3': '4', 'conv4': '6',
                'classifier': '8'}),
    ('clan', {name: name for name in ('conv1', 'conv2', 'conv3', 'conv4',
                                      'classifier')}),
  ],
)  # fmt: skip
def test_discriminators_have_the_names_of_their_originals(
  name, modules, tmp_path
):
  """ADVENT's is a Sequential, CLAN's has AdaptSegNet's attributes."""
  networks = write_run(settings(name, 'resnet'), tmp_path / 'run')
  export.export(tmp_path / 'run', tmp_path / 'x.safetensors')
  suffix = SUFFIXES[name]['main']
  found = safetensors.numpy.load_file(tmp_path / f'x{suffix}.safetensors')
  ours = networks['discriminators']['params']['main']
  assert found.keys() == {
    f'{module}.{leaf}'
    for module in modules.values()
    for leaf in ('weight', 'bias')
  }
  for module, theirs in modules.items():
    kernel = ours[module]['kernel'].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(found[f'{theirs}.weight'], kernel)
    np.testing.assert_array_equal(found[f'{theirs}.bias'], ours[module]['bias'])


def test_dense_kernels_are_turned(tmp_path):
  """torch's Linear has [out, in]; a round trip alone would not tell."""
  networks = write_run(settings('ass', 'resnet'), tmp_path / 'run')
  export.export(tmp_path / 'run', tmp_path / 'x.safetensors')
  found = safetensors.numpy.load_file(tmp_path / 'x_D_semantic.safetensors')
  ours = networks['discriminators']['params']['semantic']
  assert found['fc2.weight'].shape == (2 * tiny.CLASSES, 128)
  for layer in ('fc1', 'fc2'):
    np.testing.assert_array_equal(
      found[f'{layer}.weight'], ours[layer]['kernel'].T
    )


def test_what_has_no_place_leaves_no_file(tmp_path, monkeypatch):
  """Nothing is written before all of it is named."""
  write_run(tiny.config('advent:encoder=resnet'), tmp_path / 'run')
  output = tmp_path / 'files' / 'x.safetensors'
  with pytest.raises(UserError, match=r'bdl has no place for layer5\.conv2d'):
    export.export(tmp_path / 'run', output, layout='bdl')
  assert not output.parent.exists()
  name = 'advent_discriminator'
  headless = layouts.BY_NAME[name]._replace(
    rename=lambda key: None if key.startswith('classifier') else key
  )
  monkeypatch.setitem(layouts.BY_NAME, name, headless)
  with pytest.raises(UserError, match=rf'{name} has no place for classifier\.'):
    export.export(tmp_path / 'run', output)
  assert not output.parent.exists()
