"""The training step, for every method by its config config_name."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from tiny import assert_close, one_step, same

from jaxuda import config as config_lib
from jaxuda import experiment, losses, methods, state
from jaxuda.models import segmenter
from jaxuda.state import NetworkState


def of_segmenter(term):
  return not term.startswith('d_')


def test_measurements(method_config):
  """Each term is finite and has a weight, and each weight a term."""
  _, measured = one_step(method_config)
  terms = {k.removeprefix('loss/') for k in measured if k.startswith('loss/')}
  assert terms == tiny.terms(method_config)
  assert all(np.isfinite(v) for v in measured.values())
  assert all(v.shape == () for v in measured.values())
  assert measured['skipped'] == measured['skipped_in_row'] == 0


@pytest.mark.slow
def test_one_mean_over_all_labelled_pixels():
  """CRST stacks both domains' images: each stream's sum over all pixels."""
  _, apart = one_step('cbst')
  run = tiny.stepper('cbst', 'ce_reduction=all')
  batch = tiny.batch(tiny.config('cbst'))
  _, together = run(tiny.first_state('cbst'), batch, tiny.weights('cbst'))
  pixels = {s: (batch[s]['label'] != 255).sum() for s in ('source', 'target')}
  for term, stream in (
    ('seg_source_main', 'source'),
    ('seg_target_main', 'target'),
  ):
    share = pixels[stream] / sum(pixels.values())
    expected = share * float(apart[f'loss/{term}'])
    assert float(together[f'loss/{term}']) == pytest.approx(expected, rel=1e-4)


def test_both_networks_learn(method_config):
  start = tiny.first_state(method_config)
  after, measured = one_step(method_config)
  assert after.step == 1
  assert measured['grad_norm/segmenter'] > 0
  assert not same(after.segmenter.params, start.segmenter.params)
  assert not same(after.segmenter.batch_stats, start.segmenter.batch_stats)
  for name, params in after.discriminators.params.items():
    before = start.discriminators.params[name]
    for new, old in zip(
      jax.tree.leaves(params), jax.tree.leaves(before), strict=True
    ):
      assert (new != old).any(), name
  if not start.discriminators.params:
    assert measured['grad_norm/discriminators'] == 0


def test_each_term_trains_one_network(method_config):
  """Another weight of a term moves the one network, and not the other."""
  for term in tiny.terms(method_config):
    with_it, _ = one_step(method_config, **{term: 2.0})
    without, _ = one_step(method_config, **{term: 0.0})
    moved = {
      name: not same(
        getattr(with_it, name).params, getattr(without, name).params
      )
      for name in ('segmenter', 'discriminators')
    }
    assert moved == {
      'segmenter': of_segmenter(term),
      'discriminators': not of_segmenter(term),
    }, term


def test_without_its_terms_a_method_is_source_only(method_config):
  """The same parameters; the target's statistics may differ."""
  if method_config == 'fda':
    pytest.skip('its source images are others')
  common = ('seg_source_', 'd_')
  own = [k for k in tiny.weights(method_config) if not k.startswith(common)]
  adapted, _ = one_step(method_config, **dict.fromkeys(own, 0.0))
  # What the method's config has of its own in the network and its optimizer.
  keys = (
    'model.decoder.shared_features',
    'model.align_corners',
    'focal_gamma',
    'optim.nesterov',
  )
  flat = config_lib.flatten(tiny.config(method_config))
  settings = [f'{key}={flat[key]}' for key in keys]
  _, txs = experiment.build(tiny.config('source_only', *settings))
  start = tiny.first_state(method_config).replace(
    ema=None, discriminators=NetworkState({}, {}, txs.discriminators.init({}))
  )
  batch = {'source': tiny.batch(tiny.config(method_config))['source']}
  run = tiny.stepper('source_only', *settings)
  heads = {
    f'seg_source_{h}': tiny.weights(method_config)[f'seg_source_{h}']
    for h in ('main', 'aux')
  }
  plain, _ = run(start, batch, heads)
  assert_close(
    adapted.segmenter.params, plain.segmenter.params, rtol=1e-5, atol=1e-7
  )
  assert_close(
    adapted.segmenter.opt_state, plain.segmenter.opt_state, rtol=1e-4, atol=1e-6
  )


def test_three_steps(method_config, tmp_path):
  """Finite, compiled once, and after a restart the same to the bit."""
  tiny.three_steps(method_config, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('statistics', ['both', 'target'])
def test_forward_passes_before_the_update(statistics):
  """Source, then target, at the old parameters; both networks see them."""
  config_name, override = 'advent_patch', f'bn_stats_from={statistics}'
  config = tiny.config(config_name, override)
  method = methods.load(config.method)
  nets, _ = experiment.build(config)
  start, batch = tiny.first_state(config_name), tiny.batch(config)
  # A fresh discriminator says nearly the same of everything.
  decided = jax.tree.map(lambda p: 3 * p, start.discriminators.params)
  start = start.replace(
    discriminators=start.discriminators.replace(params=decided)
  )
  forward = jax.jit(
    functools.partial(segmenter.forward, nets.segmenter),
    compiler_options=tiny.QUICK,
  )
  params, stats = start.segmenter.params, start.segmenter.batch_stats
  source, stats = forward(params, stats, batch['source']['image'])
  if statistics == 'target':
    stats = start.segmenter.batch_stats
  target, stats = forward(params, stats, batch['target']['image'])

  def discriminate(name, view):
    variables = {'params': start.discriminators.params[name]}
    return nets.discriminators[name].apply(variables, view)

  rng = jax.random.fold_in(jax.random.key(config.seed), 0)
  keys = jax.vmap(lambda i: jax.random.fold_in(rng, i))(jnp.arange(2))
  outputs = {'source': source, 'target': target}
  ctx = methods.StepContext(
    batch=batch,
    config=config,
    step=0,
    keys=keys,
    outputs=outputs,
    params=params,
    discriminate=discriminate,
  )
  expected = {
    f'seg_source_{level}': losses.cross_entropy(
      logits, batch['source']['label']
    )
    for level, logits in source.logits.items()
  }
  expected |= method.segmenter_losses(ctx)
  expected |= method.discriminator_losses(ctx)
  run = tiny.stepper(config_name, override)
  after, measured = run(start, batch, tiny.weights(config_name))
  assert abs(measured['loss/d_main'] - np.log(2)) > 0.01
  measured = {k: measured[k if '/' in k else f'loss/{k}'] for k in expected}
  assert_close(measured, expected, rtol=1e-4)
  assert_close(after.segmenter.batch_stats, stats, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_patches_differ_from_step_to_step():
  """The key is folded with the step; nothing else here depends on it."""
  for config_name, moves in (('advent_patch', True), ('advent', False)):
    run, batch = tiny.stepper(config_name), tiny.batch(tiny.config(config_name))
    start = tiny.first_state(config_name)
    later = start.replace(step=jnp.int32(5))
    _, first = run(start, batch, tiny.weights(config_name))
    _, second = run(later, batch, tiny.weights(config_name))
    assert (first['loss/d_main'] != second['loss/d_main']) == moves
    assert first['loss/seg_source_main'] == second['loss/seg_source_main']


@pytest.mark.slow
@pytest.mark.parametrize(
  'config_name', ['advent_patch', 'no_more_discrimination']
)
def test_a_batch_in_parts(config_name):
  """One step on four images a domain is the same step in two parts of two.

  Without batch statistics; with different numbers of ignored pixels in the
  parts; each image keeps its patches.
  """
  settings = ('bn_mode=frozen', 'model.decoder.multi_level=False')
  batch = tiny.batch(tiny.config(config_name), size=4)
  batch['source']['label'][0] = 255
  weights = tiny.weights(config_name)
  found = []
  for parts in (1, 2):
    run = tiny.stepper(config_name, *settings, f'grad_accum_steps={parts}')
    start = tiny.first_state(config_name, *settings)
    found.append(run(start, batch, weights))
  (whole, once), (parted, twice) = found
  assert once['loss/seg_source_main'] > 1 and once['loss/adv_main'] > 0.1
  terms = [name for name in once if name.startswith('loss/')]
  assert_close(
    *({t: each[t] for t in terms} for each in (twice, once)), rtol=1e-4
  )
  start = tiny.first_state(config_name, *settings)
  # Of Adam its moments: its first step divides the gradient by its size.
  for learnt in (
    lambda s: s.segmenter.params,
    lambda s: s.discriminators.opt_state,
  ):
    moved, other = (
      jax.tree.map(np.subtract, learnt(s), learnt(start))
      for s in (whole, parted)
    )
    for y, x in zip(*map(jax.tree.leaves, (moved, other)), strict=True):
      assert np.abs(y).max() > 0
      np.testing.assert_allclose(x, y, rtol=1e-2, atol=1e-3 * np.abs(y).max())


def test_one_program_serves_all_seeds():
  """With a method that draws; what differs are its arguments."""
  texts, keys = set(), []
  for seed in (0, 1):
    config = tiny.config('dacs', f'seed={seed}')
    start = state.abstract(*experiment.build(config))
    constants = experiment.constants(config, start.segmenter)
    keys.append(constants['rng'])
    step = jax.jit(experiment.train_step(config))
    texts.add(step.lower(start, tiny.batch(config), constants).as_text())
  assert len(texts) == 1
  assert not np.array_equal(*keys)


@pytest.mark.slow
def test_the_state_is_donated():
  """As the loop compiles it: every buffer of the old state is reused."""
  config = tiny.config('adaptsegnet')
  run = jax.jit(
    experiment.train_step(config), donate_argnums=0, compiler_options=tiny.QUICK
  )
  old = jax.tree.map(jnp.copy, tiny.first_state('adaptsegnet'))
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    constants = experiment.constants(config, None)
    new, _ = run(old, tiny.batch(config), constants)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))
  expected, _ = one_step('adaptsegnet')
  assert_close(
    new.segmenter.params, expected.segmenter.params, rtol=1e-4, atol=1e-6
  )


@pytest.mark.slow
def test_bfloat16():
  """Computes near to float32, and keeps its state in float32."""
  config_name = 'adaptsegnet'
  config = tiny.config(config_name, 'model.dtype=bfloat16')
  run = tiny.stepper(config_name, 'model.dtype=bfloat16')
  start = tiny.first_state(config_name)
  after, measured = run(start, tiny.batch(config), tiny.weights(config_name))
  assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, start)
  assert measured['skipped'] == 0
  _, expected = one_step(config_name)
  for name, value in measured.items():
    assert value.dtype in (jnp.float32, jnp.int32)
    if name.startswith('loss/'):
      assert value == pytest.approx(float(expected[name]), rel=0.05)
      if name.startswith('loss/seg'):
        assert value != expected[name]  # it did compute otherwise
