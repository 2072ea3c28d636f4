"""Forward passes of networks and discriminators against NumPy."""

from functools import partial

import by_hand
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import (
  KEY,
  TWO_HEADS,
  build,
  build_tiny,
  random_variables,
  shapes,
)

from jaxuda.models import layers, segmenter
from jaxuda.models.discriminators import FCDiscriminator, PixelDiscriminator


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
