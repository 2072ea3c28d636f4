"""Every tensor and every variable is accounted for, or the file is refused."""

import shlex

import numpy as np
import pytest
import safetensors.numpy
from torch_keys import (
  COUNTER,
  VGG16,
  aspp,
  draw,
  experiment,
  fada,
  file_of,
  shapes,
)

from jaxuda.torch_weights import load
from jaxuda.utils.errors import UserError


def test_what_does_not_fit_is_listed_on_both_sides(tmp_path):
  config = experiment('advent')
  path = tmp_path / 'x.safetensors'

  def rename(key):
    return 'layer7.odd' if key == 'layer2.1.conv2.weight' else key

  file_of(config, rename, path)
  with pytest.raises(UserError) as refused:
    load.load_segmenter(config, path)
  said = str(refused.value)
  assert 'x.safetensors (deeplab) does not fit' in said
  assert 'only the network has layer2.1.conv2.weight;' in said
  assert 'only the file has layer7.odd.' in said


@pytest.mark.parametrize(
  ('name', 'of_file', 'of_config', 'flags'),
  [
    (
      'advent',
      'model.encoder.blocks=(1,2,2,1)',
      'model.encoder.blocks=(1,2,1,1)',
      "--config.model.encoder.blocks='(1,2,2,1)'",
    ),
    (
      'advent',
      'model.decoder.multi_level=True',
      'model.decoder.multi_level=False',
      '--config.model.decoder.multi_level=True',
    ),
    (
      'advent',
      'model.decoder.multi_level=False',
      'model.decoder.multi_level=True',
      '--config.model.decoder.multi_level=False',
    ),
    (
      'fada',
      'model.decoder.multi_level=False',
      'model.decoder.multi_level=True',
      '--config.model.decoder.multi_level=False',
    ),
    (
      'fada',
      'model.encoder.blocks=(1,2,1,1)',
      'model.encoder.blocks=(3,2,1,1)',
      "--config.model.encoder.blocks='(1,2,1,1)'",
    ),
  ],
)
def test_a_file_of_another_network_names_the_setting(
  name, of_file, of_config, flags, tmp_path
):
  """And no key: not one of it is silently left out."""
  path = tmp_path / 'x.safetensors'
  rename = fada if name == 'fada' else lambda k: k
  file_of(experiment(name, of_file), rename, path)
  with pytest.raises(UserError) as refused:
    load.load_segmenter(experiment(name, of_config), path)
  has = of_config.replace(',', ', ')
  sentence = f'another network; the config has {has}: set {flags}.'
  assert str(refused.value).endswith(sentence)
  [flag] = shlex.split(flags)
  load.load_segmenter(experiment(name, flag.removeprefix('--config.')), path)


def test_settings_that_no_key_tells(tmp_path):
  """A ResNet's file in a VGG-16, which has no blocks."""
  path = tmp_path / 'x.safetensors'
  file_of(experiment('advent'), lambda k: k, path)
  with pytest.raises(UserError, match=r'the network has .*; only the file'):
    load.load_segmenter(VGG16(), path)


def test_shapes_and_exceptions(tmp_path):
  """A head of other classes needs a word in the config."""
  path = tmp_path / 'x.safetensors'
  file_of(
    experiment('advent', 'classes=synthia16'),
    lambda k: k,
    path,
    odd=np.ones(1, 'f4'),
  )
  with pytest.raises(UserError) as refused:
    load.load_segmenter(experiment('advent'), path)
  said = str(refused.value)
  assert 'layer5.conv2d_list.0.weight is (16, 64, 3, 3), not (19, 64' in said
  assert 'only the file has odd' in said and 'config.init_fresh' in said
  config = experiment('advent', r'init_fresh=layer[56]\..*', 'init_unused=odd')
  run, found = load.load_segmenter(config, path)
  assert found.fresh.keys() == {*aspp('layer5'), *aspp('layer6')}
  assert found.unused['odd'] == 'config.init_unused'
  assert found.unused['layer6.conv2d_list.3.bias'] == 'of shape (16,)'
  assert len(found.unused) == 1 + 16
  assert run.params.keys() == {'encoder'}
  bad = experiment('advent', 'init_fresh=layer[')
  with pytest.raises(UserError, match='take regexes'):
    load.load_segmenter(bad, path)


def test_files_without_counters(tmp_path):
  """torch before 0.4.1 had none; they begin at 0."""
  config = experiment('advent')
  path = tmp_path / 'x.safetensors'
  file_of(config, lambda k: None if k.endswith(COUNTER) else k, path)
  run, found = load.load_segmenter(config, path)
  assert found.complete
  assert run.batch_stats['encoder']['bn1'][COUNTER] == 0


def test_unknown_keys(tmp_path):
  path = tmp_path / 'x.safetensors'
  safetensors.numpy.save_file({'encoder.w': np.ones(2, 'f4')}, path)
  with pytest.raises(UserError, match='has the keys of no known model: encod'):
    load.load_segmenter(experiment('advent'), path)


def test_discriminators(tmp_path, capsys):
  """ADVENT's and AdaptSegNet's one by one, FADA's out of the whole file."""
  for name, names in (
    (
      'advent',
      {
        'conv1': '0',
        'conv2': '2',
        'conv3': '4',
        'conv4': '6',
        'classifier': '8',
      },
    ),
    ('adaptsegnet', {}),
  ):
    _, d = shapes(experiment(name))
    files, drawn = {}, {}
    for seed, (head, named) in enumerate(d.items()):
      tensors = draw(named, seed)
      files[head] = tmp_path / f'{name}_{head}.safetensors'
      drawn[head] = tensors
      renamed = {}
      for key, tensor in tensors.items():
        module, _, leaf = key.partition('.')
        renamed[f'{names.get(module, module)}.{leaf}'] = tensor
      safetensors.numpy.save_file(renamed, files[head])
    init = ','.join(f'{k}={v}' for k, v in files.items())
    found = load.load_discriminators(
      experiment(name, f'discriminator.init={init}')
    )
    assert found.keys() == {'main', 'aux'}
    for head, tensors in drawn.items():
      kernel = found[head]['conv3']['kernel']
      theirs = tensors['conv3.weight'].transpose(2, 3, 1, 0)
      np.testing.assert_array_equal(kernel, theirs)
    # One that is not named is reported.
    config = experiment(name, f'discriminator.init=main={files["main"]}')
    assert load.load_discriminators(config).keys() == {'main'}
    said = capsys.readouterr().out
    assert 'names no file for aux, which starts from random weights' in said
  config = experiment('fada')
  _, d = shapes(config)
  tensors = draw(d['main'])
  path = tmp_path / 'fada.safetensors'
  seg = file_of(config, fada, path)
  whole = seg | {f'model_D.{k}': v for k, v in tensors.items()}
  safetensors.numpy.save_file(whole, path)
  run, match = load.load_segmenter(config, path)
  assert len(match.unused) == 8 and run.params['decoder']['layer6']
  config = experiment('fada', f'discriminator.init={path}')
  found = load.load_discriminators(config)['main']
  theirs = tensors['cls2.bias']
  np.testing.assert_array_equal(found['cls2']['bias'], theirs)
  assert 'no file for' not in capsys.readouterr().out
  # There are no settings of what a discriminator's file may lack.
  safetensors.numpy.save_file(whole | {'model_D.odd': theirs}, path)
  with pytest.raises(UserError, match='fit the discriminator of') as refused:
    load.load_discriminators(config)
  assert 'config.init' not in str(refused.value)


@pytest.mark.parametrize(
  ('name', 'init', 'sentence'),
  [
    (
      'advent',
      'third=x.safetensors',
      "no discriminator 'third'; there are aux",
    ),
    ('fada', 'main=x.pth,aux=y.pth', "no discriminator 'aux'; there are main"),
    ('advent', 'main=x.pth,y.pth', 'is neither a run nor aux=FILE,main=FILE'),
    ('advent', 'main=x.pth,main=y.pth', 'is neither a run nor aux=FILE,main='),
    ('advent', 'main=', 'is neither a run nor aux=FILE,main=FILE'),
    ('fada', 'main=gone.pth', r'gone\.pth does not exist'),
    ('advent', 'x.safetensors', 'is neither a run nor aux=FILE,main=FILE'),
    ('minent', 'main=x.safetensors', 'method minent has no discriminators'),
    ('fada', 'runs/gone', 'is neither a run nor main=FILE'),
  ],
)
def test_discriminators_that_are_not_there(name, init, sentence):
  config = experiment(name, f'discriminator.init={init}')
  with pytest.raises(UserError, match=sentence):
    load.load_discriminators(config)
