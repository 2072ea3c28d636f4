"""Networks against the published sizes, counts and names, and in NumPy."""

from functools import partial

import by_hand
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda import config as config_lib
from jaxuda import experiment
from jaxuda.models import layers, segmenter
from jaxuda.models.decoders import deeplab_v2
from jaxuda.models.discriminators import FCDiscriminator, PixelDiscriminator
from jaxuda.models.encoders import resnet
from jaxuda.models.segmenter import Segmenter

KEY = jax.random.key(0)
TWO_HEADS = (('main', 'layer4'), ('aux', 'layer3'))


def build(*overrides, words='gta5'):
  """Return ADVENT's segmenter at full size: ResNet-101 with two heads."""
  spec = f'configs/advent.py:{words}'
  return experiment.segmenter(config_lib.load(spec, overrides))


def build_tiny(
  blocks=(1, 1, 1, 1),
  variant='caffe',
  input_norm='caffe',
  reads=TWO_HEADS,
  dilations=(1, 2),
  dtype=jnp.float32,
  remat=False,
):
  """Return a segmenter of the usual form, for five classes."""
  return Segmenter(
    resnet.Encoder(blocks, 4, variant, 'batch', 'caffe', dtype, remat),
    deeplab_v2.Decoder(5, reads, dilations, 2, False, dtype),
    input_norm,
    'layer4',
    5,
    dtype=dtype,
  )


def image_of(height, width):
  return jax.ShapeDtypeStruct((1, height, width, 3), jnp.uint8)


def shapes(net, size=(64, 64)):
  init = jax.eval_shape(
    lambda x: net.init(KEY, x, train=False), image_of(*size)
  )
  return init['params'], init.get('batch_stats', {})


def outputs_of(net, size):
  """Return the shapes of the outputs of a forward pass."""
  outputs, _ = jax.eval_shape(
    lambda x: net.init_with_output(KEY, x, train=False), image_of(*size)
  )
  return outputs


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def names(tree):
  return {
    '.'.join(key.key for key in path)
    for path, _ in jax.tree_util.tree_leaves_with_path(tree)
  }


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


def test_geometry_of_resnet101():
  """One stride in layer2; every block of layer3 and layer4 is dilated."""
  seen = {}

  def record(call, arguments, keywords, context):
    module = context.module
    if isinstance(module, layers.Conv):
      assert module.padding == module.dilation * (module.kernel // 2)
      seen['.'.join(module.path[1:])] = (module.stride, module.dilation)
    return call(*arguments, **keywords)

  with nn.intercept_methods(record):
    shapes(build())
  strides = {name for name, (stride, _) in seen.items() if stride == 2}
  assert strides == {'conv1', 'layer2_0.conv1', 'layer2_0.downsample_0'}
  dilated = {f'layer3_{b}.conv2': 2 for b in range(23)}
  dilated |= {f'layer4_{b}.conv2': 4 for b in range(3)}
  assert {n: d for n, (_, d) in seen.items() if d > 1} == dilated


def random_variables(abstract):
  """Variables whose statistics and affines differ from their start."""
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    value = rng.standard_normal(leaf.shape)
    name = path[-1].key
    if name == 'kernel':
      value *= np.prod(leaf.shape[:3]) ** -0.5
    elif name in ('scale', 'var'):
      value = 0.5 + np.abs(value)
    return value.astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, abstract)


def test_the_whole_network_in_numpy():
  size = (36, 51)
  net = build_tiny()
  params, batch_stats = shapes(net, size)
  variables = random_variables({'params': params, 'batch_stats': batch_stats})
  image = np.random.default_rng(1).integers(0, 256, (1, *size, 3), np.uint8)
  outputs = jax.jit(partial(net.apply, train=False))(variables, image)

  p, s = variables['params'], variables['batch_stats']['encoder']
  mean = (104.00698793, 116.66876762, 122.67891434)  # blue, green, red
  x = np.stack([image[..., 2], image[..., 1], image[..., 0]], -1) - mean
  b = p['encoder']
  x = by_hand.conv(x, b['conv1']['kernel'], 2, 3)
  x = np.maximum(by_hand.norm(x, b['bn1'], s['bn1']), 0)
  x = by_hand.max_pool(x, ceil=True)
  layer = {}
  for n, stride, dilation in ((1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 4)):
    at = f'layer{n}_0'
    x = layer[n] = by_hand.bottleneck(x, b[at], s[at], stride, dilation)
  for n in (3, 4):
    tolerance = 1e-5 * np.abs(layer[n]).max()
    features = outputs.features[f'layer{n}']
    np.testing.assert_allclose(features, layer[n], atol=tolerance)
  for head, name, n in (('main', 'layer6', 4), ('aux', 'layer5', 3)):
    expected = by_hand.aspp(layer[n], p['decoder'][name], (1, 2))
    tolerance = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(outputs.logits[head], expected, atol=tolerance)


@pytest.mark.parametrize('variant', ['torchvision', 'v1c'])
def test_the_other_variants_in_numpy(variant):
  """FADA's: RGB, pooling down, the stride in the 3x3, late dilations.

  v1c is the same behind another stem.
  """
  size = (36, 51)
  net = build_tiny((1, 2, 2, 2), variant, 'torchvision', TWO_HEADS[:1])
  params, batch_stats = shapes(net, size)
  variables = random_variables({'params': params, 'batch_stats': batch_stats})
  image = np.random.default_rng(1).integers(0, 256, (1, *size, 3), np.uint8)
  outputs = jax.jit(partial(net.apply, train=False))(variables, image)
  features = outputs.main_features

  b, s = variables['params']['encoder'], variables['batch_stats']['encoder']
  mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # red, green, blue
  x = (image / 255 - mean) / std
  stem = {
    'torchvision': (('conv1', 'bn1', 2, 3),),
    'v1c': (
      ('stem_0', 'stem_1', 2, 1),
      ('stem_3', 'stem_4', 1, 1),
      ('stem_6', 'stem_7', 1, 1),
    ),
  }[variant]
  for conv, norm, stride, padding in stem:
    x = by_hand.conv(x, b[conv]['kernel'], stride, padding)
    x = np.maximum(by_hand.norm(x, b[norm], s[norm]), 0)
  x = by_hand.max_pool(x, ceil=False)
  # torchvision's replace_stride_with_dilation: a layer's first block has the
  # dilation of the layer before.
  for at, stride, dilation in (
    ('layer1_0', 1, 1),
    ('layer2_0', 2, 1),
    ('layer2_1', 1, 1),
    ('layer3_0', 1, 1),
    ('layer3_1', 1, 2),
    ('layer4_0', 1, 2),
    ('layer4_1', 1, 4),
  ):
    x = by_hand.bottleneck(x, b[at], s[at], stride, dilation, caffe=False)
  assert features.shape == x.shape == (1, 5, 7, 128)
  np.testing.assert_allclose(features, x, atol=1e-5 * np.abs(x).max())


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


def test_the_input_of_caffes_vgg():
  """FADA's VGG-16: BGR less another mean than the ResNets'."""
  norm = segmenter.INPUT_NORMS['caffe_vgg']
  assert norm.bgr and norm.scale == 1
  assert norm.mean == (103.939, 116.779, 123.68) and norm.std == (1, 1, 1)


@pytest.mark.slow
def test_branches_that_are_not_summed():
  """AdaptSegNet sums two of four: its code returns inside the loop."""
  net = build_tiny(dilations=(1, 2, 3, 4))
  params, batch_stats = shapes(net)
  assert len(params['decoder']['layer6']) == 4
  variables = random_variables({'params': params, 'batch_stats': batch_stats})
  image = np.random.default_rng(1).integers(0, 256, (1, 36, 51, 3), np.uint8)
  outputs = net.apply(variables, image, train=False)
  head = variables['params']['decoder']['layer6']
  expected = by_hand.aspp(outputs.main_features, head, (1, 2))
  tolerance = 1e-5 * np.abs(expected).max()
  np.testing.assert_allclose(outputs.logits['main'], expected, atol=tolerance)


def test_fadas_discriminator_in_numpy():
  """Three 3x3 convolutions; the source's classes before the target's."""
  x = np.random.default_rng(0).standard_normal((1, 4, 5, 6)).astype('f4')
  net = PixelDiscriminator(6, 3, 8)
  variables = random_variables(jax.eval_shape(net.init, KEY, x))
  p, y = variables['params'], x
  for name in ('D_0', 'D_2'):
    y = by_hand.conv(y, p[name]['kernel'], 1, 1) + p[name]['bias']
    y = np.where(y > 0, y, 0.2 * y)
  assert y.shape[-1] == 4  # half of the first layer's
  halves = [
    by_hand.conv(y, p[name]['kernel'], 1, 1) + p[name]['bias']
    for name in ('cls1', 'cls2')
  ]
  expected = np.concatenate(halves, -1)
  np.testing.assert_allclose(net.apply(variables, x), expected, atol=1e-5)


def test_discriminator_in_numpy():
  x = np.random.default_rng(0).standard_normal((2, 64, 65, 5)).astype('f4')
  for outputs in (1, 2):
    net = FCDiscriminator(5, 4, outputs)
    variables = random_variables(jax.eval_shape(net.init, KEY, x))
    found = net.apply(variables, x)
    p, y = variables['params'], x
    for name in ('conv1', 'conv2', 'conv3', 'conv4'):
      y = by_hand.conv(y, p[name]['kernel'], 2, 1) + p[name]['bias']
      y = np.where(y > 0, y, 0.2 * y)
    last = p['classifier']
    y = by_hand.conv(y, last['kernel'], 2, 1) + last['bias']
    # The logit of 'target' of a softmax over (source, target).
    expected = y[..., 0] if outputs == 1 else y[..., 1] - y[..., 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bfloat16_computes_but_does_not_store():
  net = build_tiny(dtype=jnp.bfloat16)
  image = jnp.zeros((1, 32, 32, 3), jnp.uint8)
  variables = jax.eval_shape(lambda x: net.init(KEY, x, train=False), image)
  stored = {'float32', 'int32'}  # and how many batches were tracked
  assert {x.dtype.name for x in jax.tree.leaves(variables)} == stored
  outputs, updated = jax.eval_shape(
    lambda v, x: segmenter.forward(net, v['params'], v['batch_stats'], x),
    variables,
    image,
  )
  assert outputs.main_features.dtype == jnp.bfloat16
  assert {x.dtype.name for x in outputs.logits.values()} == {'float32'}
  assert {x.dtype.name for x in jax.tree.leaves(updated)} == stored


@pytest.mark.slow
def test_remat_changes_no_number():
  image = np.random.default_rng(1).integers(0, 256, (1, 32, 40, 3), np.uint8)
  params, batch_stats = random_variables(shapes(build_tiny(), (32, 40)))

  @jax.jit
  def both(params):
    def loss(net, params):
      outputs, updated = segmenter.forward(net, params, batch_stats, image)
      return outputs.logits['main'].std(), updated

    nets = (build_tiny(), build_tiny(remat=True))
    return [jax.grad(partial(loss, net), has_aux=True)(params) for net in nets]

  plain, rematerialised = both(params)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    plain,
    rematerialised,
  )
