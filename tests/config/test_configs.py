"""Every config file: it builds, weighs its terms, has its paper's values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from configs import common
from jaxuda import config as config_lib
from jaxuda import experiment, labels, methods, state
from jaxuda.training import checks, own_data
from jaxuda.utils import sharding


def load(name, words='gta5', *overrides):
  return config_lib.load(f'configs/{name}.py:{words}', overrides)


def emitted(config) -> set[str]:
  """Return the terms of a step, from the shapes of the nets that are built."""
  start = state.abstract(*experiment.build(config))
  step = experiment.train_step(config)
  constants = experiment.constants(config, start.segmenter, tiny.priors(config))
  batch = tiny.batch(config, size=1)
  _, measured = jax.eval_shape(step, start, batch, constants)
  return {k.removeprefix('loss/') for k in measured if k.startswith('loss/')}


@pytest.mark.slow
@pytest.mark.parametrize('name', tiny.configs())
def test_a_config_weighs_its_terms(name):
  """The terms of its step are those that it weighs.

  A weight may be there for a term that comes with a setting.
  """
  two_heads = load(name).model.decoder.multi_level
  config = tiny.config(name, f'model.decoder.multi_level={two_heads}')
  weights = set(config.loss_weights) - tiny.unused(config)
  if not two_heads:
    weights -= {weight for weight in weights if weight.endswith('_aux')}
  assert emitted(config) == weights


@pytest.mark.parametrize('name', tiny.configs())
def test_a_config_weighs_labels_of_the_target(name):
  """By a flag, any config trains on them whose method reads the target."""
  config = load(name, 'streets')
  if 'target' in methods.load(config.method).streams:
    config = load(name, 'streets', 'loss_weights.seg_target_main=0.5')
    assert config.loss_weights.seg_target_main == 0.5
    weights = config.loss_weights
    assert weights.seg_target_aux == weights.seg_source_aux


@pytest.mark.parametrize('preset', common.PRESETS)
@pytest.mark.parametrize('name', tiny.configs())
def test_a_config_has_every_preset(name, preset):
  own = []
  if preset == 'mine':
    own = ['target.name=streets/city', 'target.size=208x288']
  config = load(name, preset, *own)
  assert config.is_locked
  assert config.name == f'{name}-{preset}'
  own_data.settle(config, {})
  for each in (config, *config_lib.stages(config).values()):
    config_lib.check_values(each)
    checks.check(each, sharding.make_mesh())
  if preset in common.RENDERED:  # a short schedule that ends at zero
    assert config.optim.decay_steps is None and config.steps <= 2_000


@pytest.mark.parametrize('method', tiny.all_methods())
def test_a_method_has_a_config_of_its_name(method):
  assert load(method).method.partition('+')[0] == method


def test_the_experiment_of_accv_2020():
  """Cicek et al., section 4.1 and Fig. 8a; the rest is ADVENT's."""
  flat = config_lib.flatten(load('advent_patch'))
  expected = {
    'steps': 150_000,
    'source.name': 'gta5',
    'source.size': (720, 1280),
    'source.batch_size': 1,
    'target.name': 'cityscapes',
    'target.size': (512, 1024),
    'target.batch_size': 1,
    'eval.name': 'cityscapes',
    'classes': 'cityscapes19',
    'model.encoder.name': 'resnet',
    'model.encoder.blocks': (3, 4, 23, 3),
    'model.encoder.width': 64,
    'model.decoder.dilations': (6, 12, 18, 24),
    'bn_mode': 'running',
    'optim.lr': 2.5e-4,
    'optim.head_factor': 10.0,
    'optim.momentum': 0.9,
    'optim.weight_decay': 5e-4,
    'optim.power': 0.9,
    'optim.decay_steps': 250_000,
    'discriminator.lr': 1e-4,
    'discriminator.outputs': 2,
    'loss_weights.seg_source_main': 1.0,
    'loss_weights.seg_source_aux': 0.1,
    'loss_weights.adv_main': 0.001,
    'loss_weights.adv_aux': 0.0002,
    'patch.size': 256,
    'information': 'natural',
    'objective': 'non_saturating',
  }
  assert {k: flat[k] for k in expected} == expected
  synthia = load('advent_patch', 'synthia')
  assert synthia.source.name == 'synthia'
  assert synthia.source.size == (760, 1280)
  assert synthia.target.size == (512, 1024) and synthia.steps == 150_000
  space = labels.space(synthia.classes)
  assert len(space.classes) == 16
  assert list(space.subsets) == ['mIoU-16', 'mIoU-13']


def test_the_network_of_streets_is_small():
  words = 'streets,encoder=resnet'
  net = experiment.segmenter(load('advent_patch', words))
  image = jax.ShapeDtypeStruct((1, 96, 192, 3), jnp.uint8)
  shapes = jax.eval_shape(
    lambda x: net.init(jax.random.key(0), x, train=False), image
  )
  sizes = [np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes['params'])]
  assert 1e6 < sum(sizes) < 2e6
