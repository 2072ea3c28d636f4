"""Networks against the published sizes, counts and names."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from networks import (
  KEY,
  build,
  count,
  image_of,
  names,
  outputs_of,
  shapes,
)

from jaxuda.models import segmenter
from jaxuda.models.discriminators import FCDiscriminator

# What the originals' networks give for these inputs, run in torch 2.13. The
# odd sizes come from the pooling that rounds up.
SIZES = {
  (720, 1280): ((91, 161), (22, 40)),
  (760, 1280): ((96, 161), (23, 40)),
  (512, 1024): ((65, 129), (16, 32)),
  (1024, 2048): ((129, 257), (32, 64)),
}


@pytest.mark.slow
@pytest.mark.parametrize('size', SIZES)
def test_sizes_at_full_size(size):
  net = build()
  params, batch_stats = shapes(net)
  eighth, thirtysecond = SIZES[size]
  outputs, _ = jax.eval_shape(
    lambda p, s, x: segmenter.forward(net, p, s, x),
    params,
    batch_stats,
    image_of(*size),
  )
  assert outputs.features['layer3'].shape == (1, *eighth, 1024)
  assert outputs.main_features.shape == (1, *eighth, 2048)
  assert outputs.logits['main'].shape == (1, *size, 19)
  assert outputs.logits['aux'].shape == (1, *size, 19)
  small = outputs_of(net, size).logits
  assert {k: v.shape for k, v in small.items()} == {
    'main': (1, *eighth, 19),
    'aux': (1, *eighth, 19),
  }
  d_logits, _ = jax.eval_shape(
    lambda x: FCDiscriminator(19).init_with_output(KEY, x),
    outputs.logits['main'],
  )
  assert d_logits.shape == (1, *thirtysecond)


@pytest.mark.parametrize('size', SIZES)
def test_sizes_of_vgg(size):
  """Three poolings that round down: 720 -> 90."""
  outputs = outputs_of(build(words='gta5,encoder=vgg16'), size)
  eighth = tuple(side // 8 for side in size)
  assert outputs.main_features.shape == (1, *eighth, 1024)
  assert {k: v.shape for k, v in outputs.logits.items()} == {
    'main': (1, *eighth, 19)
  }


def test_a_patch_of_256_gives_8x8_logits():
  patches = jax.ShapeDtypeStruct((3, 256, 256, 19), jnp.float32)
  for net in (FCDiscriminator(19), FCDiscriminator(19, outputs=2)):
    found, _ = jax.eval_shape(partial(net.init_with_output, KEY), patches)
    assert found.shape == (3, 8, 8) and found.dtype == jnp.float32


def test_counts_of_resnet101():
  """44,601,560 in torch's multi-level net with 19 classes.

  Stem 7*7*3*64. A block of p planes on i channels has p (i + 9 p + 4 p)
  weights, and 4 p i more for the shortcut of a layer's first one. Batch norm
  has a scale and a bias for each of 52,672 channels, whose running mean and
  variance are no parameters. A head is 4 branches of 9 i 19 + 19.
  """
  convolutions, channels, i = 7 * 7 * 3 * 64, 64, 64
  for p, blocks in ((64, 3), (128, 4), (256, 23), (512, 3)):
    for block in range(blocks):
      convolutions += p * (i + 13 * p) + (block == 0) * 4 * p * i
      channels += 6 * p + (block == 0) * 4 * p
      i = 4 * p
  aux, main = (4 * (9 * c * 19 + 19) for c in (1024, 2048))
  assert convolutions + 2 * channels + aux + main == 44_601_560
  assert convolutions + aux + main == 44_496_216  # "trainable" in torch

  params, batch_stats = shapes(build())
  assert count(params) == 44_601_560
  assert 2 * channels == 105_344
  assert count(batch_stats) == 105_344 + 104  # and a counter each
  single, _ = shapes(build('model.decoder.multi_level=False'))
  assert count(single) == 43_901_068  # BDL's network


def test_counts_of_the_others():
  params, _ = shapes(build(words='gta5,encoder=vgg16'))
  assert count(params['encoder']) == 28_872_512  # FADA's VGG-16
  assert count(params['decoder']['layer6']) == 4 * (9 * 1024 * 19 + 19)
  maps = jax.ShapeDtypeStruct((1, 64, 64, 19), jnp.float32)
  d = jax.eval_shape(lambda x: FCDiscriminator(19).init(KEY, x), maps)['params']
  # 16 i o + o for 19, 64, 128, 256, 512 -> 64, 128, 256, 512, 1
  assert count(d) == 2_781_121
  assert set(d) == {'conv1', 'conv2', 'conv3', 'conv4', 'classifier'}


def test_the_deep_stem():
  """mmcv's resnet101_v1c on DeepLabV2: 42,519,392 and 700,454 in torch.

  Three 3x3 convolutions, 3 -> 32 -> 32 -> 64, in place of a 7x7 one.
  """
  net = build(
    'model.encoder.variant=v1c',
    'model.decoder.multi_level=False',
    'model.decoder.aspp_branches=2',
    'model.decoder.dilations=(6,12)',
  )
  params, batch_stats = shapes(net)
  assert count(params['encoder']) == 42_519_392
  assert count(params['decoder']) == 700_454
  stem = {
    k: v for k, v in params['encoder'].items() if not k.startswith('layer')
  }
  kernels = {'stem_0': (3, 32), 'stem_3': (32, 32), 'stem_6': (32, 64)}
  for name, channels in kernels.items():
    assert stem.pop(name)['kernel'].shape == (3, 3, *channels)
  assert set(stem) == {'stem_1', 'stem_4', 'stem_7'}
  assert set(stem) <= set(batch_stats['encoder'])


def test_names_are_the_checkpoints():
  """Each of torch's keys, with '_' where it puts a number behind a dot."""
  torch, affine, running = {'encoder.conv1.kernel'}, {'bn1'}, set()
  for layer, blocks in ((1, 3), (2, 4), (3, 23), (4, 3)):
    for b in range(blocks):
      at = f'layer{layer}_{b}.'
      torch |= {f'encoder.{at}conv{n}.kernel' for n in (1, 2, 3)}
      affine |= {f'{at}bn{n}' for n in (1, 2, 3)}
    torch.add(f'encoder.layer{layer}_0.downsample_0.kernel')
    affine.add(f'layer{layer}_0.downsample_1')
  state = ('mean', 'var', 'num_batches_tracked')
  running = {f'encoder.{n}.{v}' for n in affine for v in state}
  torch |= {f'encoder.{n}.{v}' for n in affine for v in ('scale', 'bias')}
  for head in ('layer5', 'layer6'):
    for branch in range(4):
      at = f'decoder.{head}.conv2d_list_{branch}'
      torch |= {f'{at}.kernel', f'{at}.bias'}
  params, batch_stats = shapes(build())
  assert names(params) == torch
  assert names(batch_stats) == running
  assert len(torch) + len(running) == 640  # entries of ADVENT's state dict


def test_names_of_vgg():
  params, batch_stats = shapes(build(words='gta5,encoder=vgg16'))
  # torchvision's indices of convolutions, without pool4 (23) and pool5.
  indices = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31)
  assert set(params['encoder']) == {f'features_{i}' for i in indices}
  assert set(params['decoder']) == {'layer6'} and batch_stats == {}


@pytest.mark.parametrize(
  ('size', 'eighth'),
  [
    ((720, 1280), (90, 160)),
    ((760, 1280), (95, 160)),
    ((512, 1024), (64, 128)),
    ((1024, 2048), (128, 256)),
  ],
)
def test_fadas_sizes_at_full_size(size, eighth):
  net = build(
    'model.encoder.variant=torchvision', 'model.decoder.multi_level=False'
  )
  outputs = outputs_of(net, size)
  assert outputs.main_features.shape == (1, *eighth, 2048)
