"""Checkpoints of SegFormer, DAFormer, HRDA and MIC, in and out bit for bit."""

import numpy as np
import pytest
import tiny
from flax import traverse_util
from tiny_runs import write_run
from torch_keys import COUNTER, NORM, draw, pairs, resnet

from jaxuda import config as config_lib
from jaxuda import experiment, state
from jaxuda.torch_weights import export, files, layouts, load
from jaxuda.utils.errors import UserError

WIDE = (64, 128, 320, 512)
SEGMENTERS = {
  'daformer': 'decode_head.',
  'segformer': 'decode_head.',
  'segformer_nvlabs': 'decode_head.',
  'hrda': 'decode_head.head.',
  'dlv2': 'decode_head.',
  'hrda_dlv2': 'decode_head.head.',
}


def mit(channels, depths):
  """Return {key: shape} of SegFormer's encoders."""
  found, before = {}, 3

  def add(name, *weight, bias=True):
    found[f'{name}.weight'] = weight
    if bias:
      found[f'{name}.bias'] = weight[:1]

  for n, (c, depth, sr) in enumerate(
    zip(channels, depths, (8, 4, 2, 1), strict=True), 1
  ):
    kernel = 7 if n == 1 else 3
    add(f'patch_embed{n}.proj', c, before, kernel, kernel)
    add(f'patch_embed{n}.norm', c)
    for i in range(depth):
      at = f'block{n}.{i}'
      add(f'{at}.norm1', c)
      add(f'{at}.attn.q', c, c)
      add(f'{at}.attn.kv', 2 * c, c)
      add(f'{at}.attn.proj', c, c)
      if sr > 1:
        add(f'{at}.attn.sr', c, c, sr, sr)
        add(f'{at}.attn.norm', c)
      add(f'{at}.norm2', c)
      add(f'{at}.mlp.fc1', 4 * c, c)
      add(f'{at}.mlp.dwconv.dwconv', 4 * c, 1, 3, 3)
      add(f'{at}.mlp.fc2', c, 4 * c)
    add(f'norm{n}', c)
    before = c
  return found


def norm(name, channels):
  return {f'{name}.{v}': (channels,) for v in NORM} | {f'{name}.{COUNTER}': ()}


def conv_module(name, *kernel):
  """mmcv's: a convolution without bias, and its norm."""
  return {f'{name}.conv.weight': kernel} | norm(f'{name}.bn', kernel[0])


def embedding(name, channels, width):
  return {f'{name}.weight': (width, channels), f'{name}.bias': (width,)}


def daformer_head(channels, width=256, aspp=True):
  """Return {key: shape} below decode_head."""
  found = {}
  for i, c in enumerate(channels):
    found |= embedding(f'embed_layers.{i}.proj', c, width)
  if aspp:
    at = 'fuse_layer.aspp_modules'
    found |= conv_module(f'{at}.0', width, 4 * width, 1, 1)
    for i in (1, 2, 3):
      found |= conv_module(f'{at}.{i}.depthwise_conv', 4 * width, 1, 3, 3)
      found |= conv_module(f'{at}.{i}.pointwise_conv', width, 4 * width, 1, 1)
    found |= conv_module('fuse_layer.bottleneck', width, 4 * width, 3, 3)
  else:
    found |= conv_module('fuse_layer', width, 4 * width, 1, 1)
  classifier = {'conv_seg.weight': (19, width, 1, 1), 'conv_seg.bias': (19,)}
  return found | classifier


def segformer_head(channels, width, numbered):
  found = {}
  for i, c in enumerate(channels):
    found |= embedding(f'linear_c{numbered(i)}.proj', c, width)
  found |= conv_module('linear_fuse', width, 4 * width, 1, 1)
  return found | {
    'linear_pred.weight': (19, width, 1, 1),
    'linear_pred.bias': (19,),
  }


def below(prefix, tree):
  return {prefix + key: shape for key, shape in tree.items()}


def dlv2_head():
  keys = pairs(f'aspp_modules.{i}.conv' for i in (0, 1))
  return dict.fromkeys(keys)


def keys_of(kind, channels, depths, width=256):
  """Return {key: shape} of a segmenter on MiT; no shapes on a ResNet."""
  if 'dlv2' in kind:
    found = dict.fromkeys(f'backbone.{k}' for k in v1c())
    found |= below(SEGMENTERS[kind], dlv2_head())
    if 'hrda' in kind:
      found |= below('decode_head.scale_attention.', dlv2_head())
    return found
  head = {
    'daformer': lambda: daformer_head(channels, width),
    'hrda': lambda: daformer_head(channels, width),
    'segformer': lambda: segformer_head(channels, width, lambda i: f'.{i}'),
    'segformer_nvlabs': lambda: segformer_head(
      channels, width, lambda i: i + 1
    ),
  }[kind]()
  found = below('backbone.', mit(channels, depths))
  found |= below(SEGMENTERS[kind], head)
  if kind == 'hrda':
    attention = daformer_head(channels, 256, aspp=False)
    found |= below('decode_head.scale_attention.', attention)
  return found


def v1c():
  """Return the keys of the narrow ResNet with mmcv's deep stem."""
  for key in resnet((1, 2, 1, 1)):
    if not key.startswith(('conv1.', 'bn1.')):
      yield key
  for i in (0, 3, 6):
    yield f'stem.{i}.weight'
    yield from (f'stem.{i + 1}.{v}' for v in (*NORM, COUNTER))


def config_of(kind, page='source_only', full=False):
  """Return a config whose segmenter is of a kind; small, or of full size."""
  detail = '(512,512)' if full else '(32,32)'
  more = [f'model.detail={detail}'] if 'hrda' in kind else []
  more += ['model.decoder.multi_level=False']
  if 'dlv2' in kind:
    more += [
      'model.encoder.variant=v1c',
      'model.encoder.blocks=(1,2,1,1)',
      'model.encoder.width=4',
      'model.decoder.dilations=(6,12)',
      'model.decoder.aspp_branches=2',
    ]
    return config_lib.load(f'configs/{page}.py:gta5,encoder=resnet', more)
  more += ['model.decoder.fusion=1x1'] if 'segformer' in kind else []
  more += [] if full else ['model.encoder.size=b0', 'model.decoder.width=8']
  return config_lib.load(f'configs/{page}.py:gta5,encoder=mit', more)


def expected_keys(kind, full=False):
  if full:
    return keys_of(kind, WIDE, (3, 6, 40, 3))
  return keys_of(kind, (32, 64, 160, 256), (2, 2, 2, 2), width=8)


@pytest.mark.parametrize('kind', ['daformer', 'hrda', 'segformer'])
def test_keys_and_shapes_on_mit_b5(kind):
  """1,052 tensors of the encoder; 3,712,275 numbers of DAFormer's head."""
  expected = expected_keys(kind, full=True)
  config = config_of(kind, full=True)
  layout = layouts.BY_NAME[kind]
  found = tensors_of(config, layout)
  assert {key: tensor.shape for key, tensor in found.items()} == expected
  learnt = {
    key: np.prod(shape, dtype=int)
    for key, shape in expected.items()
    if not key.endswith((COUNTER, 'running_mean', 'running_var'))
  }

  def of(prefix):
    return sum(n for key, n in learnt.items() if key.startswith(prefix))

  assert of('backbone.') == 81_443_008
  if kind != 'segformer':
    assert of(SEGMENTERS[kind]) == 3_712_275
  if kind == 'hrda':
    assert of('decode_head.scale_attention.') == 530_707


def tensors_of(config, layout):
  """Return zeros by the names of a layout."""
  network = state.abstract(*experiment.build(config)).segmenter
  found = {}
  for tree in (network.params, network.batch_stats):
    leaves = traverse_util.flatten_dict(tree)
    blank = {
      path: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
      for path, leaf in leaves.items()
    }
    found |= export.to_tensors(traverse_util.unflatten_dict(blank), layout)
  return found


@pytest.mark.parametrize('kind', SEGMENTERS)
def test_import_and_export_give_back_every_bit(kind, tmp_path):
  config = config_of(kind)
  layout = layouts.BY_NAME[kind]
  known = {key: t.shape for key, t in tensors_of(config, layout).items()}
  expected = expected_keys(kind)
  assert known.keys() == expected.keys()
  if 'dlv2' not in kind:
    assert known == expected
  tensors = draw(known)
  files.write(tmp_path / 'x.pth', tensors)
  run, found = load.load_segmenter(config, tmp_path / 'x.pth')
  assert found.layout.name == kind and found.complete and not found.unused
  back = export.to_tensors(run.params, found.layout)
  back |= export.to_tensors(run.batch_stats, found.layout)
  assert back.keys() == tensors.keys()
  for key, tensor in tensors.items():
    np.testing.assert_array_equal(back[key], tensor, key)
  if kind == 'segformer_nvlabs':
    # Its first eight inputs are of the deepest level, ours of the finest.
    ours = run.params['decoder']['fuse_layer']['conv']['kernel'][0, 0]
    theirs = tensors['decode_head.linear_fuse.conv.weight'][..., 0, 0].T
    np.testing.assert_array_equal(ours[:8], theirs[24:])
    np.testing.assert_array_equal(ours[8:16], theirs[16:24])


def test_a_checkpoint_of_training_has_the_student_read(tmp_path):
  """mmcv's: a state_dict with three networks, beside meta and optimizer."""
  config = config_of('daformer')
  known = tensors_of(config, layouts.BY_NAME['daformer'])
  known = {key: tensor.shape for key, tensor in known.items()}
  student, teacher = draw(known, 0), draw(known, 1)
  imagenet = draw({k: s for k, s in known.items() if k[:8] == 'backbone'}, 2)
  content = {
    'meta': {'iter': np.array(40_000)},
    'state_dict': {
      **below('model.', student),
      **below('ema_model.', teacher),
      **below('imnet_model.', imagenet),
    },
    'optimizer': {'state': {'0': {'exp_avg': np.ones(3, 'f4')}}},
  }
  path = tmp_path / 'iter_40000.pth'
  files.write(path, content)
  run, found = load.load_segmenter(config, path)
  assert found.layout.name == 'daformer_trained' and found.complete
  assert len(found.unused) == len(teacher) + len(imagenet)
  kernel = run.params['decoder']['conv_seg']['kernel'][0, 0]
  theirs = student['decode_head.conv_seg.weight'][..., 0, 0].T
  np.testing.assert_array_equal(kernel, theirs)


@pytest.mark.parametrize('kind', ['dlv2', 'hrda_dlv2'])
def test_student_and_teacher_are_written_into_one_file(kind, tmp_path):
  page = 'hrda' if 'hrda' in kind else 'dacs'
  config = config_of(kind, page)
  networks = write_run(config, tmp_path / 'run')
  output = tmp_path / 'x.pth'
  export.export(tmp_path / 'run', output, layout=f'{kind}_trained')
  found = files.read(output)
  expected = expected_keys(kind)
  assert found.keys() == {
    *below('model.', expected),
    *below('ema_model.', expected),
  }
  name = f'{SEGMENTERS[kind]}aspp_modules.0.conv.weight'
  for network, prefix in (('segmenter', 'model.'), ('ema', 'ema_model.')):
    head = networks[network]['params']['decoder']['layer6']['conv2d_list_0']
    np.testing.assert_array_equal(
      found[prefix + name], head['kernel'].transpose(3, 2, 0, 1)
    )
  run, match = load.load_segmenter(config, output)
  assert match.complete
  assert tiny.same(run.params, networks['segmenter']['params'])


def test_a_run_without_a_teacher_has_no_such_file(tmp_path):
  write_run(config_of('dlv2'), tmp_path / 'run')
  with pytest.raises(UserError, match='source_only has none'):
    export.export(tmp_path / 'run', tmp_path / 'x.pth', layout='dlv2_trained')
  assert not (tmp_path / 'x.pth').exists()
