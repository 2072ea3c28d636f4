"""PyTorch checkpoints of every layout in, and out again bit for bit."""

import functools

import numpy as np
import pytest
from torch_keys import (
  BLOCKS,
  COUNTER,
  FADA,
  MULTI,
  SINGLE,
  VGG,
  VGG16,
  aspp,
  experiment,
  fada,
  file_of,
  pairs,
  prefix,
  resnet,
  shapes,
)

from jaxuda import config as config_lib
from jaxuda.torch_weights import export, layouts, load
from jaxuda.utils.errors import UserError


def in_fada(keys, counters):
  backbone = {f'feature_extractor.backbone.{k}' for k in keys(counters)}
  return backbone | {f'classifier.{k[2:]}' for k in aspp('x')}


def narrow(counters=True):
  return set(resnet(BLOCKS['narrow'], counters))


# Its config, our plain name -> the file's key, the layout's name, and all keys
# of the file.
WHOLE = {
  'multi-level': (
    MULTI,
    lambda key: key,
    'deeplab',
    {*narrow(), *aspp('layer5'), *aspp('layer6')},
  ),
  'single-level': (
    SINGLE,
    lambda key: key,
    'deeplab',
    {*narrow(), *aspp('layer6')},
  ),
  'bdl': (
    SINGLE,
    prefix('layer6.', 'layer5.'),
    'bdl',
    {*narrow(), *aspp('layer5')},
  ),
  'fada': (FADA, fada, 'fada', in_fada(narrow, False)),
  'fada, trained norm': (
    functools.partial(FADA, 'bn_mode=batch'),
    fada,
    'fada',
    in_fada(narrow, True),
  ),
  'vgg': (
    VGG16,
    prefix('layer6.', 'classifier.'),
    'deeplab_vgg',
    {*pairs(f'features.{n}' for n in VGG), *aspp('classifier')},
  ),
}


@pytest.mark.parametrize('kind', WHOLE)
def test_import_and_export_give_back_every_bit(kind, tmp_path):
  make, rename, name, keys = WHOLE[kind]
  config = make()
  tensors = file_of(config, rename, tmp_path / 'x.safetensors')
  assert tensors.keys() == keys
  run, found = load.load_segmenter(config, tmp_path / 'x.safetensors')
  assert found.layout.name == name and found.complete and not found.unused
  back = export.to_tensors(run.params, found.layout)
  back |= export.to_tensors(run.batch_stats, found.layout)
  assert back.keys() == tensors.keys()
  for key, tensor in tensors.items():
    assert back[key].dtype == tensor.dtype, key
    np.testing.assert_array_equal(back[key], tensor, key)


def test_kernels_are_turned(tmp_path):
  """torch's [out, in, row, column] at our [row, column, in, out]."""
  config = experiment('advent')
  tensors = file_of(config, lambda key: key, tmp_path / 'x.safetensors')
  run, _ = load.load_segmenter(config, tmp_path / 'x.safetensors')
  ours = run.params['encoder']['layer2_1']['conv2']['kernel']
  theirs = tensors['layer2.1.conv2.weight']
  assert ours.shape == (3, 3, 8, 8)
  assert ours[0, 2, 5, 7] == theirs[7, 5, 0, 2]
  stats = run.batch_stats['encoder']['layer2_0']['downsample_1']
  theirs = tensors['layer2.0.downsample.1.running_var']
  np.testing.assert_array_equal(stats['var'], theirs)


@pytest.mark.parametrize('heads', ['multi', 'single'])
def test_the_keys_of_the_originals_at_full_size(heads):
  """All of ADVENT's: 640 entries with two heads, 632 with one."""
  more = ['model.decoder.multi_level=False'] if heads == 'single' else []
  config = config_lib.load('configs/advent.py', more)
  expected = {*resnet(BLOCKS['full']), *aspp('layer6')}
  expected |= set(aspp('layer5')) if heads == 'multi' else set()
  seg, d = shapes(config)
  assert seg.keys() == expected
  assert len(seg) == (640 if heads == 'multi' else 632)
  if heads == 'multi':
    count = sum(
      np.prod(shape, dtype=int)
      for key, shape in seg.items()
      if not key.endswith((COUNTER, 'running_mean', 'running_var'))
    )
    assert count == 44_601_560
  rename = layouts.BY_NAME['advent_discriminator'].rename
  assert {rename(k): s for k, s in d['main'].items()} == {
    '0.weight': (64, 19, 4, 4),
    '0.bias': (64,),
    '2.weight': (128, 64, 4, 4),
    '2.bias': (128,),
    '4.weight': (256, 128, 4, 4),
    '4.bias': (256,),
    '6.weight': (512, 256, 4, 4),
    '6.bias': (512,),
    '8.weight': (1, 512, 4, 4),
    '8.bias': (1,),
  }
  plain = {'conv1', 'conv2', 'conv3', 'conv4', 'classifier'}
  assert d['main'].keys() == set(pairs(plain))
  assert sum(np.prod(s, dtype=int) for s in d['main'].values()) == 2_781_121


@pytest.mark.parametrize('frozen', [True, False])
def test_fadas_keys_at_full_size(frozen):
  """520 entries with a frozen norm, 624 with a trained one."""
  norm = 'frozen' if frozen else 'batch'
  config = config_lib.load('configs/fada.py', [f'bn_mode={norm}'])
  seg, d = shapes(config)
  keys = {fada(key) for key in seg}
  backbone = {k for k in keys if k.startswith('feature_extractor')}
  assert len(backbone) == (520 if frozen else 624)
  at = 'feature_extractor.backbone.'
  assert backbone == {
    at + key for key in resnet(BLOCKS['full'], counters=not frozen)
  }
  assert keys - backbone == {
    f'classifier.{key.partition(".")[2]}' for key in aspp('x')
  }
  head = sum(np.prod(seg[k], dtype=int) for k in seg if 'layer6' in k)
  assert head == 1_400_908
  assert d['main'].keys() == set(pairs(['D.0', 'D.2', 'cls1', 'cls2']))
  assert sum(np.prod(s, dtype=int) for s in d['main'].values()) == 5_057_702


def headless(kind):
  """Return (config, our plain name -> the key, what else the file has)."""
  six = np.ones((1000, 8), 'f4')
  if kind == 'scale':
    more = {'Scale.layer5.conv2d_list.0.weight': np.ones((21, 128, 3, 3), 'f4')}
    return MULTI, lambda k: None if 'layer5' in k else f'Scale.{k}', more
  if kind in ('torchvision_resnet', 'resnet_v1c'):
    variant = 'v1c' if kind == 'resnet_v1c' else 'torchvision'
    make = functools.partial(MULTI, f'model.encoder.variant={variant}')
    return make, lambda k: k, {'fc.weight': six, 'fc.bias': six[:, 0].copy()}
  conv5 = {23: 24, 25: 26, 27: 28}
  if kind == 'vgg':

    def rename(key):
      number = int(key.split('.')[1])
      return f'features.{conv5.get(number, number)}.{key.rpartition(".")[2]}'

    return VGG16, rename, {'classifier.0.weight': six}
  order = [
    f'conv{s}_{i}'
    for s, n in zip(range(1, 6), (2, 2, 3, 3, 3), strict=True)
    for i in range(1, n + 1)
  ]

  def rename(key):
    at = VGG.index(int(key.split('.')[1]))
    return f'{order[at]}.{key.rpartition(".")[2]}'

  return VGG16, rename, {'fc6.weight': six, 'fc7.bias': six[:, 0].copy()}


@pytest.mark.parametrize(
  'kind', ['scale', 'torchvision_resnet', 'resnet_v1c', 'vgg', 'caffe_vgg']
)
def test_encoders_of_pretrained_files(kind, tmp_path):
  """The encoder is taken, the classifier unused, our heads stay fresh."""
  make, rename, more = headless(kind)
  config = make()

  def key_of(name):
    mine = name.startswith(('layer5.', 'layer6.', 'features.29', 'features.31'))
    return None if mine else rename(name)

  path = tmp_path / 'x.safetensors'
  tensors = file_of(config, key_of, path, **more)
  convolutions = {k for k in tensors if 'conv5_3' in k or 'features.28' in k}
  assert len(convolutions) == (2 if 'vgg' in kind else 0)
  # mmcv's deep stem: three convolutions, each with its norm.
  stem = {k for k in tensors if k.startswith('stem.')}
  assert len(stem) == (18 if kind == 'resnet_v1c' else 0)
  run, found = load.load_segmenter(config, path)
  assert found.layout.name == kind and not found.complete
  assert found.unused.keys() == more.keys()
  seg, _ = shapes(config)
  assert set(found.fresh) == {name for name in seg if not key_of(name)}
  assert run.params.keys() == {'encoder'}
  back = export.to_tensors(run.params, found.layout)
  back |= export.to_tensors(run.batch_stats, found.layout)
  assert back.keys() == tensors.keys() - more.keys()
  for key, tensor in back.items():
    np.testing.assert_array_equal(tensor, tensors[key], key)
  said = found.describe()
  assert (
    f'{kind}: {len(back)} tensors' in said and f'{len(more)} unused' in said
  )


def test_layouts_without_a_place_for_a_tensor():
  """Nothing is left out of an export."""
  head = {'decoder': {'layer6': {'conv2d_list_0': {'bias': np.ones(3)}}}}
  for name in ('scale', 'resnet_v1c', 'torchvision_resnet', 'vgg', 'caffe_vgg'):
    with pytest.raises(UserError, match=f'{name} has no place for layer6'):
      export.to_tensors(head, layouts.BY_NAME[name])
