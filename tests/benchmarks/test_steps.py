"""The benchmarks measure what they say, at small size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from benchmarks.perf import common, floor
from jaxuda import config as config_lib
from jaxuda.models import layers
from jaxuda.torch_weights import export, layouts
from jaxuda.utils.errors import UserError

CONFIGS = (
  'source_only',
  'minent',
  'adaptsegnet',
  'advent',
  'advent_patch',
  'fada',
)


def test_operations_by_hand():
  """A strided convolution and both of its gradients."""
  x, kernel = jnp.zeros((2, 8, 12, 3)), jnp.zeros((3, 3, 3, 5))

  def f(x, kernel):
    y = jax.lax.conv_general_dilated(
      x,
      kernel,
      (2, 2),
      ((1, 1), (1, 1)),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )  # fmt: skip
    return jnp.sum(y**2)

  forward = 2 * (2 * 4 * 6) * (3 * 3 * 3) * 5
  program = jax.make_jaxpr(f)(x, kernel)
  sizes = 4 * (2 * 8 * 12 * 3 + 3 * 3 * 3 * 5 + 2 * 4 * 6 * 5)
  assert floor.count(program.jaxpr) == (forward, sizes)
  program = jax.make_jaxpr(jax.jit(jax.grad(f, (0, 1))))(x, kernel)
  operations, moved = floor.count(program.jaxpr)
  assert (operations, moved) == (3 * forward, 3 * sizes)


def test_products_are_counted_as_often_as_they_run():
  """Three times in a loop; what only resizes is left out."""
  x, w = jnp.zeros((2, 7, 5)), jnp.zeros((5, 5))

  def f(x, w):
    x, _ = jax.lax.scan(lambda x, _: (x @ w, None), x, length=3)
    return layers.resize(x[..., None], (9, 9))

  program = jax.make_jaxpr(f)(x, w)
  once, sizes = 2 * (2 * 7 * 5) * 5, 4 * (2 * 2 * 7 * 5 + 5 * 5)
  assert floor.count(program.jaxpr) == (3 * once, 3 * sizes)


@pytest.mark.slow
def test_the_paper_s_step_is_counted_in_full():
  """ADVENT with two heads, every layer counted by hand."""
  config = config_lib.load('configs/advent.py')
  found = floor.of_step(config, common.random_batch(config))
  total = 0
  for h, w in ((720, 1280), (512, 1024)):
    # Forward, and the gradients of inputs and of weights; not of the image.
    stem = (h // 2) * (w // 2) * 49 * 3 * 64
    total += 3 * (_blocks(h, w) + _heads(h, w)) + 2 * stem
    # Each discriminator judges each domain; not for its own inputs' sake.
    first, others = _discriminator(h, w)
    total += 2 * (2 * first + 3 * others)
  # The target's maps are judged for the segmenter's sake, too.
  total += 2 * 2 * (first + others)
  assert found.operations == 2 * total


def _blocks(h, w):
  """Multiplications of ResNet-101's blocks at output stride 8."""
  total, inputs = 0, 64
  h, w = h // 4 + 1, w // 4 + 1
  for layer, blocks in enumerate((3, 4, 23, 3)):
    planes = 64 * 2**layer
    if layer == 1:
      h, w = (h + 1) // 2, (w + 1) // 2
    for i in range(blocks):
      shortcut = inputs * 4 * planes if i == 0 else 0
      total += h * w * (13 * planes**2 + inputs * planes + shortcut)
      inputs = 4 * planes
  return total


def _heads(h, w):
  """Two of four dilated branches, on 1024 and on 2048 channels."""
  return (h // 8 + 1) * (w // 8 + 1) * 4 * 9 * 19 * (1024 + 2048)


def _discriminator(h, w):
  """Multiplications of its first layer, and of its other four."""
  channels, layers = (19, 64, 128, 256, 512, 1), []
  for i in range(5):
    h, w = h // 2, w // 2
    layers.append(h * w * 16 * channels[i] * channels[i + 1])
  return layers[0], sum(layers[1:])


@pytest.mark.needs_torch
@pytest.mark.parametrize('name', CONFIGS)
def test_pytorch_takes_the_same_step(name):
  """Losses of two steps from the same weights, to float32's rounding."""
  pytest.importorskip('torch')
  import torch

  from benchmarks.perf import torch_step

  quirks = ['optim.duplicate_params=False', 'bn_mode=batch', 'optim.lr=1e-3']
  if name == 'fada':
    quirks += [
      'model.encoder.variant=torchvision',
      'ce_reduction=image',
      'temperature=1.8',
    ]
  if name == 'advent_patch':  # the draws differ, so that nothing is cut
    quirks += ['bn_mode=running', 'bn_stats_from=both', 'patch.size=None']
  spec = f'{name}:encoder=resnet'
  config = tiny.config(spec, *quirks)
  current = tiny.first_state(spec, *quirks)
  net = torch_step.TorchStep(config, 'channels_last', 'cpu')

  def load(module, layout, *trees):
    tensors = {}
    for tree in trees:
      named = export.to_tensors(jax.device_get(tree), layouts.BY_NAME[layout])
      tensors |= {k: torch.tensor(v) for k, v in named.items()}
    module.load_state_dict(tensors)

  segmenter = current.segmenter
  load(net.segmenter, 'deeplab', segmenter.params, segmenter.batch_stats)
  layout = 'fada_discriminator' if name == 'fada' else 'discriminator'
  for head, module in net.discriminators.items():
    load(module, layout, current.discriminators.params[head])

  step = tiny.stepper(spec, *quirks)
  for i in range(2):
    batch = tiny.batch(config, seed=i)
    current, measured = step(current, batch, config.loss_weights.to_dict())
    theirs = net(net.load(batch))
    assert {f'loss/{k}' for k in theirs} == {
      k for k in measured if k.startswith('loss/')
    }
    for term, value in theirs.items():
      np.testing.assert_allclose(
        measured[f'loss/{term}'], float(value), rtol=2e-4, err_msg=f'{term} {i}'
      )


# Its layers in the order of a pass; the first block expands nothing.
_BLOCK = ('expand_conv', 'bn0', 'depthwise_conv', 'bn1', 'project_conv', 'bn2')
LITE0 = (
  *('encoder.conv_stem', 'encoder.bn0'),
  *(f'encoder.blocks.{i}.{name}' for i in range(16) for name in _BLOCK),
  *(f'decoder.level{i}_{name}' for i in range(4) for name in ('conv', 'bn')),
  *('decoder.fuse_conv', 'decoder.fuse_bn', 'decoder.classifier'),
)


def _lite0(tensors, named):
  """Return tensors of ours by PyTorch's names: both in the order of a pass."""
  ours = [x for x in LITE0 if any(k.startswith(f'{x}.') for k in tensors)]
  theirs = dict.fromkeys(key.rpartition('.')[0] for key in named)
  pairs = dict(zip(theirs, ours, strict=True))
  parts = {key: key.rpartition('.') for key in named}
  return {k: tensors[f'{pairs[x]}.{name}'] for k, (x, _, name) in parts.items()}


@pytest.mark.needs_torch
@pytest.mark.parametrize(
  ('encoder', 'layout', 'settings'),
  [
    ('efficientnet_lite', 'jaxuda', ()),
    (
      *('mit', 'daformer'),
      (
        *('model.encoder.size=b0', 'model.encoder.drop_path=0.0'),
        *('model.decoder.dropout=0.0', 'model.decoder.width=16'),
      ),
    ),
  ],
)
def test_pytorch_has_the_network_of_dacs(encoder, layout, settings):
  """The source's loss from the same weights; the mixtures are drawn."""
  pytest.importorskip('torch')
  import torch

  from benchmarks.perf import torch_dacs

  settings += (
    *('optim.name=adamw', 'ce_reduction=pixels'),
    'model.decoder.multi_level=False',
  )
  spec = f'dacs:encoder={encoder}'
  config, current = (
    f(spec, *settings) for f in (tiny.config, tiny.first_state)
  )
  net = torch_dacs.TorchStep(config, 'eager', 'cpu')
  tensors = {}
  for tree in (current.segmenter.params, current.segmenter.batch_stats):
    tree = jax.device_get(tree)
    tensors |= export.to_tensors(tree, layouts.BY_NAME[layout])
  named = net.student.state_dict()
  if layout == 'jaxuda':
    tensors = _lite0(tensors, named)
  assert set(tensors) == set(named)
  net.student.load_state_dict({k: torch.tensor(v) for k, v in tensors.items()})

  batch = tiny.batch(config)
  step = tiny.stepper(spec, *settings)
  _, measured = step(current, batch, config.loss_weights.to_dict())
  found = net(net.load(batch))
  assert {f'loss/{k}' for k in found} == {
    k for k in measured if k.startswith('loss/')
  }
  source = float(found['seg_source_main'])
  np.testing.assert_allclose(
    measured['loss/seg_source_main'], source, rtol=2e-4
  )
  assert np.isfinite(float(found['seg_mixed_main']))


@pytest.mark.needs_torch
@pytest.mark.parametrize(
  ('name', 'override', 'key'),
  [
    ('clan', 'seed=0', 'method'),
    ('advent', 'model.encoder.variant=v1c', r'model\.encoder\.variant'),
    ('advent', 'bn_mode=fixed', 'bn_mode'),
  ],
)
def test_a_step_that_pytorch_does_not_have(name, override, key):
  pytest.importorskip('torch')
  from benchmarks.perf import torch_step

  config = tiny.config(f'{name}:encoder=resnet', override)
  with pytest.raises(UserError, match=rf'config\.{key}:'):
    torch_step.TorchStep(config, 'eager', 'cpu')
