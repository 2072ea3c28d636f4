"""Optimizers against torch's update rules, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from jaxuda import config as config_lib
from jaxuda import optim
from jaxuda.models import segmenter

LR, HEAD, MOMENTUM, DECAY, POWER, HORIZON = 0.1, 10.0, 0.9, 5e-4, 0.9, 25


def with_settings(*overrides):
  """The numbers above, whatever the page says, and changes to them."""
  return tiny.config(
    'source_only',
    f'optim.lr={LR}',
    f'optim.head_factor={HEAD}',
    f'optim.momentum={MOMENTUM}',
    f'optim.weight_decay={DECAY}',
    f'optim.power={POWER}',
    f'optim.decay_steps={HORIZON}',
    'train_bn_affine=False',
    *overrides,
  )


def toy_params():
  """One parameter of each kind, under the network's names."""
  names = {
    'encoder': {
      'conv1': ('kernel',),
      'bn1': ('scale', 'bias'),
      'layer1_0': {
        'conv2': ('kernel',),
        'bn2': ('scale', 'bias'),
        'downsample_0': ('kernel',),
        'downsample_1': ('scale', 'bias'),
      },
      'features_0': ('kernel', 'bias'),  # VGG's convolutions have biases
    },
    'decoder': {
      'layer5': {'conv2d_list_0': ('kernel', 'bias')},
      'layer6': {'conv2d_list_0': ('kernel', 'bias')},
    },
  }
  rng = np.random.default_rng(0)

  def draw(tree):
    if isinstance(tree, tuple):
      return {n: rng.standard_normal(3).astype('f4') for n in tree}
    return {name: draw(inner) for name, inner in tree.items()}

  return draw(names)


def scale_of(path):
  names = [key.key for key in path]
  if names[0] == 'decoder':
    return HEAD
  in_norm = names[-2] in ('bn1', 'bn2', 'downsample_1')
  return 0.0 if in_norm else 1.0


def sgd(p, g, lr, memory, i):
  """torch.optim.SGD: the decay enters the buffer, the rate does not."""
  memory['buffer'] = MOMENTUM * memory.get('buffer', 0.0) + g + DECAY * p
  return p - lr * memory['buffer']


def adamw(p, g, lr, memory, i):
  """torch.optim.AdamW with betas (0.9, 0.99)."""
  memory['m'] = 0.9 * memory.get('m', 0.0) + 0.1 * g
  memory['v'] = 0.99 * memory.get('v', 0.0) + 0.01 * g**2
  m, v = memory['m'] / (1 - 0.9 ** (i + 1)), memory['v'] / (1 - 0.99 ** (i + 1))
  return p * (1 - lr * DECAY) - lr * m / (np.sqrt(v) + 1e-8)


@pytest.mark.parametrize('rule', [sgd, adamw])
@pytest.mark.parametrize('affine', [False, True])
def test_ten_steps_of_the_segmenters_optimizer(affine, rule):
  config = with_settings(
    f'train_bn_affine={affine}', f'optim.name={rule.__name__}'
  )
  tx = optim.segmenter(config)
  params = toy_params()
  state = tx.init(params)
  update = jax.jit(tx.update)
  paths = jax.tree_util.tree_leaves_with_path(params)
  expected = {path: np.float64(leaf) for path, leaf in paths}
  memory = {path: {} for path in expected}
  rng = np.random.default_rng(1)
  for i in range(10):
    grads = jax.tree.map(
      lambda p: rng.standard_normal(p.shape).astype('f4'), params
    )
    updates, state = update(grads, state, params)
    params = optax.apply_updates(params, updates)
    for path, g in jax.tree_util.tree_leaves_with_path(grads):
      scale = scale_of(path) or affine
      lr = scale * LR * (1 - i / HORIZON) ** POWER
      expected[path] = rule(expected[path], g, lr, memory[path], i)
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    np.testing.assert_allclose(leaf, expected[path], rtol=1e-5, atol=1e-5)


def test_a_frozen_affine_stays_bit_for_bit():
  tx = optim.segmenter(with_settings())
  params = toy_params()
  grads = jax.tree.map(jnp.ones_like, params)
  updates, _ = tx.update(grads, tx.init(params), params)
  new = optax.apply_updates(params, updates)
  before = jax.tree_util.tree_leaves_with_path(params)
  for (path, old), leaf in zip(before, jax.tree.leaves(new), strict=True):
    assert np.array_equal(old, leaf) == (scale_of(path) == 0)


def test_sgd_fixture():
  """torch: p = 1, g = 0.3, decay 5e-4, lr 0.1, momentum 0.9, three steps."""
  tx = optim.segmenter(with_settings('optim.power=0.0'))
  params = {'encoder': {'conv1': {'kernel': jnp.ones(())}}}
  state, seen = tx.init(params), []
  for _ in range(3):
    grads = jax.tree.map(lambda p: jnp.full_like(p, 0.3), params)
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    seen.append(float(params['encoder']['conv1']['kernel']))
  assert seen == pytest.approx([0.96995, 0.912857, 0.831427], abs=1e-6)


# p = 1 under a constant g = 0.3, decay 5e-4, lr 0.1, momentum 0.9, of a tensor
# that is listed three times. What torch made of that depends on its version.
LISTED_THRICE = {
  'in place, before 1.5': (0.831233, 0.463607, -0.048722),  # the authors'
  'out of place, to 1.8': (0.831427, 0.464307, -0.047403),
  '2.x, one by one': (0.909854507, 0.668027021, 0.247571790),
  '2.x, all at once': (0.90985, 0.573721, 0.058425),
}


def three_steps(path, *overrides):
  tx = optim.segmenter(
    with_settings('optim.power=0.0', 'optim.head_factor=1.0', *overrides)
  )
  params = jnp.ones(())
  for name in reversed(path):
    params = {name: params}
  state, seen = tx.init(params), []
  for _ in range(3):
    grads = jax.tree.map(lambda p: jnp.full_like(p, 0.3), params)
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    seen.append(float(jax.tree.leaves(params)[0]))
  return seen


BLOCK = ('encoder', 'layer1_0', 'conv1', 'kernel')
SHORTCUT = ('encoder', 'layer1_0', 'downsample_0', 'kernel')
STEM = ('encoder', 'conv1', 'kernel')


def test_nesterov_fixture():
  """torch.optim.SGD(nesterov=True) on p = 1 with g = 0.3, three steps."""
  tx = optim.sgd(lambda step: 0.1, 0.9, 5e-4, nesterov=True)
  p = jnp.ones(())
  state, found = tx.init(p), []
  for _ in range(3):
    updates, state = tx.update(jnp.array(0.3), state, p)
    p = optax.apply_updates(p, updates)
    found.append(float(p))
  assert found == pytest.approx([0.942905, 0.861474924, 0.758148446])


def test_the_authors_repeated_update():
  seen = three_steps(BLOCK, 'optim.duplicate_params=True')
  assert seen == pytest.approx(LISTED_THRICE['in place, before 1.5'], abs=1e-6)
  for version, others in LISTED_THRICE.items():
    if version != 'in place, before 1.5':
      assert seen != pytest.approx(others, abs=1e-4)
  once = [0.96995, 0.912857, 0.831427]
  assert three_steps(BLOCK, 'optim.duplicate_params=False') == pytest.approx(
    once, abs=1e-6
  )
  for path in (STEM, ('decoder', 'layer6', 'conv2d_list_0', 'kernel')):
    assert three_steps(path, 'optim.duplicate_params=True') == pytest.approx(
      once, abs=1e-6
    )


def test_a_shortcut_is_listed_four_times():
  """By torch's loop, in float64."""
  p, buffer, expected = 1.0, 0.0, []
  for _ in range(3):
    g = 0.3
    for _ in range(4):
      g += 5e-4 * p
      buffer = 0.9 * buffer + g
      p -= 0.1 * buffer
    expected.append(p)
  seen = three_steps(SHORTCUT, 'optim.duplicate_params=True')
  assert seen == pytest.approx(expected, abs=1e-6)


def resnet101(*overrides):
  """The config of the full-size network with two heads, and its parameters."""
  config = config_lib.load('configs/advent.py:gta5', overrides)
  return config, segmenter.abstract(segmenter.build(config))['params']


def test_how_often_resnet101s_tensors_are_listed():
  """99 block convolutions thrice, 4 shortcuts four times, the stem once."""
  config, params = resnet101()
  times = segmenter.times_listed(params, config)
  listed = jax.tree_util.tree_leaves_with_path(times)
  counts = {}
  for path, times in listed:
    if path[-1].key == 'kernel':
      counts[times] = counts.get(times, 0) + 1
  assert counts == {1: 1 + 8, 3: 99, 4: 4}


def test_dead_branches_get_no_update_at_all():
  """torch skips what has no gradient: neither decay nor momentum."""
  config = with_settings(
    'model.decoder.dilations=(1,2,3,4)', 'model.decoder.aspp_branches=2'
  )
  tx = optim.segmenter(config)
  branches = {f'conv2d_list_{i}': {'kernel': jnp.ones(2)} for i in range(4)}
  params = {'decoder': {'layer6': branches}}
  grads = jax.tree.map(jnp.zeros_like, params)
  state = tx.init(params)
  for _ in range(2):
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
  after = params['decoder']['layer6'].values()
  moved = [bool((b['kernel'] != 1).all()) for b in after]
  assert moved == [True, True, False, False]  # the live ones decay


def test_adam_fixture():
  """torch since 1.3: betas (0.9, 0.99), lr 1e-4, tiny gradients."""
  config = with_settings('discriminator.lr=1e-4', 'optim.power=0.0')
  tx = optim.discriminators(config)
  params = {'main': {'kernel': jnp.zeros(())}}
  state, seen = tx.init(params), []
  for g in (1e-6, 2e-6, -1e-6):
    updates, state = tx.update({'main': {'kernel': jnp.float32(g)}}, state)
    params = optax.apply_updates(params, updates)
    seen.append(float(params['main']['kernel']))
  expected = [-9.900990e-05, -1.947925e-04, -2.365068e-04]
  assert seen == pytest.approx(expected, rel=1e-5)


def test_adam_follows_the_same_schedule():
  """A constant gradient moves Adam by the learning rate of each step."""
  config = with_settings(
    'discriminator.lr=0.01', 'optim.power=0.9', 'optim.decay_steps=4'
  )
  tx = optim.discriminators(config)
  params = {'main': {'kernel': jnp.zeros(())}}
  state, moves = tx.init(params), []
  for _ in range(5):
    updates, state = tx.update({'main': {'kernel': jnp.float32(1.0)}}, state)
    moves.append(-float(updates['main']['kernel']))
  rest = [1, 0.75, 0.5, 0.25, 0]
  assert moves == pytest.approx([0.01 * r**0.9 for r in rest], abs=1e-7)


def test_poly_fixtures():
  schedule = optim.poly(2.5e-4, 250_000, 0.9)
  expected = {
    0: 2.5e-4,
    1: 2.499991e-4,
    1000: 2.4909982e-4,
    120_000: 1.3878516e-4,
    150_000: 1.0959582e-4,
  }
  for step, lr in expected.items():
    assert schedule(jnp.int32(step)) == pytest.approx(lr, rel=1e-6)
  schedule = optim.poly(2.5e-4, 62_500, 0.9)
  assert schedule(39_999) == pytest.approx(9.9684958e-5, rel=1e-6)


def test_poly_after_a_warm_up():
  """CLAN_train.py: from 0 in 5,000 steps, then the whole schedule's rate."""
  schedule = optim.poly(2.5e-4, 100_000, 0.9, warmup=5_000)
  rates = [float(schedule(i)) for i in (0, 2_500, 5_000)]
  assert rates == pytest.approx([0.0, 1.25e-4, 2.5e-4 * 0.95**0.9])


def test_poly_ends_at_zero_and_stays_there():
  schedule = optim.poly(1.0, 10, 0.9)
  assert [float(schedule(jnp.int32(i))) for i in (10, 11, 99)] == [0, 0, 0]


def test_the_decay_ends_with_the_run_unless_given():
  """The last step of a run of 4 has a quarter of the rate left."""
  config = with_settings(
    'steps=4',
    'optim.decay_steps=None',
    'optim.power=1.0',
    'discriminator.lr=0.01',
  )
  tx = optim.discriminators(config)
  params = {'main': {'kernel': jnp.zeros(())}}
  state = tx.init(params)
  for _ in range(4):
    updates, state = tx.update({'main': {'kernel': jnp.float32(1.0)}}, state)
  assert updates['main']['kernel'] == pytest.approx(-0.0025, rel=1e-5)


@pytest.mark.parametrize('frozen', [True, False])
def test_groups_of_resnet101(frozen):
  """torch trains 44,496,216 parameters; 105,344 are affines of batch norm."""
  config, params = resnet101(f'train_bn_affine={not frozen}')
  sizes = {'head': 0, 'backbone': 0, 'frozen': 0}
  groups = segmenter.param_groups(params, config)
  for group, leaf in zip(
    jax.tree.leaves(groups), jax.tree.leaves(params), strict=True
  ):
    sizes[group] += leaf.size
  head = 4 * (9 * 1024 * 19 + 19) + 4 * (9 * 2048 * 19 + 19)
  assert sizes['head'] == head
  assert sizes['frozen'] == (105_344 if frozen else 0)
  assert sum(sizes.values()) - 105_344 == 44_496_216
