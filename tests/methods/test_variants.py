"""Every experiment that is not a method's own config: the terms of each.

Those with code of their own in the step also train for three steps.
"""

import jax
import pytest
import tiny

from jaxuda import experiment, state
from jaxuda.utils.errors import UserError

PRIOR = tuple(1 / tiny.CLASSES for _ in range(tiny.CLASSES))
ONE_HEAD = 'model.decoder.multi_level=False'
TORCHVISION = (
  'model.encoder.variant=torchvision',
  'bn_mode=frozen',
  'ce_reduction=image',
  'optim.lr=1e-6',  # random weights and nothing that normalises
)
VARIANTS = {
  'AdaptSegNet, LSGAN': ('adaptsegnet', 'gan=lsgan', ONE_HEAD),
  'AdaptSegNet, VGG-16': ('adaptsegnet:encoder=vgg16', ONE_HEAD),
  'AdaptSegNet, features': ('adaptsegnet_features',),
  'AdvEnt, VGG-16': ('advent:encoder=vgg16', ONE_HEAD),
  'MinEnt, entropy range, prior': (
    'minent',
    'entropy_share=0.5',
    f'prior.shares={PRIOR}',
    ONE_HEAD,
  ),
  'AGP-GI': ('advent_patch', 'patch.size=None', ONE_HEAD),
  'random patches, minimax': ('advent_patch', 'objective=minimax', ONE_HEAD),
  'AP-CI': ('advent_image_patch', 'source.crop=32x32', 'target.crop=32x32'),
  'S2': (
    'local_alignment',
    'local.mixture=None',
    'local.leave_out_background=False',
  ),
  "mixture of pixels beside ADVENT's loss": (
    'local_alignment',
    'local.mixture=pixels',
    'local.global_alignment=information',
    ONE_HEAD,
  ),
  'FADA, hard': ('fada', 'encoding=hard', 'clip=0.1'),
  'FADA, VGG-16': ('fada:encoder=vgg16', ONE_HEAD),
  'FADA, torchvision': ('fada:encoder=resnet', *TORCHVISION),
  'ASS, n = 0': ('ass_global',),
  'ASS, GA': ('ass:semantics=none', ONE_HEAD),
  'ASS, FCSA': ('ass:semantics=vectors', ONE_HEAD),
  'BDL, M0': ('bdl', ONE_HEAD),
  'BDL, M1': ('bdl_ssl', ONE_HEAD),
  'S4 on BDL': (
    'local_alignment:start=bdl',
    ONE_HEAD,
  ),
  "S4 with extra background, beside AdaptSegNet's loss": (
    'local_alignment',
    'classes=cityscapes19-building-sky',
    'local.global_alignment=segmentations',
    ONE_HEAD,
  ),
  'CRST, MRKLD': ('cbst', 'loss_weights.kld_main=0.1'),
  'CRST, LRENT': ('cbst', 'pseudo.soft=0.25', ONE_HEAD),
  "FADA's source stage": ('fada_source:encoder=resnet', *TORCHVISION),
  'FADA, self-distilled': ('fada_distill', 'train_bn_affine=True', ONE_HEAD),
  'oracle': ('oracle',),
}


# Beginnings of the terms that a variant leaves out, beyond its config's own.
WITHOUT = {
  'S2': ('adv_mixture', 'd_mixture'),
  'ASS, GA': ('adv_semantic', 'd_semantic'),
}
WITH = {  # what is there only with a variant's settings
  'MinEnt, entropy range, prior': ('prior_main',),
  "mixture of pixels beside ADVENT's loss": ('adv_main', 'd_main'),
  "S4 with extra background, beside AdaptSegNet's loss": (
    'adv_main',
    'd_main',
  ),
}


# Whose steps have code that no method's own config runs.
TRAINED = (
  'AdvEnt, VGG-16',
  'BDL, M1',
  'CRST, LRENT',
)


def expected_terms(variant):
  """Return the terms that a variant weighs and has."""
  config = tiny.config(*VARIANTS[variant])
  absent = {*WITHOUT.get(variant, ())} | tiny.unused(config)
  absent -= set(WITH.get(variant, ()))
  one_head = not config.model.decoder.multi_level
  return {
    k
    for k in config.loss_weights
    if not (k in absent or (one_head and k.endswith('aux')))
  }


def terms_of(measured):
  """Return the names of the terms among a step's measurements."""
  return {k.removeprefix('loss/') for k in measured if k.startswith('loss/')}


@pytest.mark.slow
@pytest.mark.parametrize('variant', VARIANTS)
def test_terms_and_shapes(variant):
  """The step has the variant's terms; what comes out is what went in."""
  config = tiny.config(*VARIANTS[variant])
  start = state.abstract(*experiment.build(config))
  constants = experiment.constants(config, start.segmenter)
  after, measured = jax.eval_shape(
    experiment.train_step(config), start, tiny.batch(config), constants
  )
  assert terms_of(measured) == expected_terms(variant)
  assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, start)


@pytest.mark.slow
@pytest.mark.parametrize('variant', TRAINED)
def test_three_steps(variant, tmp_path):
  """Finite, two networks apart, one compilation, a restart to the bit."""
  settings = VARIANTS[variant]
  config = tiny.config(*settings)
  measured = tiny.three_steps(*settings, folder=tmp_path)
  expected = expected_terms(variant)
  assert terms_of(measured) == expected

  run, start = tiny.stepper(*settings), tiny.first_state(*settings)
  weights, batch = config.loss_weights.to_dict(), tiny.batch(config)
  first, _ = run(start, batch, weights)
  for network, other, of_discriminator in (
    ('segmenter', 'discriminators', True),
    ('discriminators', 'segmenter', False),
  ):
    terms = [k for k in expected if k.startswith('d_') == of_discriminator]
    still, _ = run(start, batch, weights | dict.fromkeys(terms, 0.0))
    assert tiny.same(
      getattr(still, network).params, getattr(first, network).params
    )
    if terms:
      moved = getattr(still, other).params, getattr(first, other).params
      assert not tiny.same(*moved)
  assert run._cache_size() == 1


@pytest.mark.slow
def test_vgg16_has_no_batch_norm_and_trains_every_layer():
  config_name, *overrides = VARIANTS['AdvEnt, VGG-16']
  start = tiny.first_state(config_name, *overrides)
  assert set(start.discriminators.params) == {'main'}
  batch = tiny.batch(tiny.config(config_name, *overrides))
  weights = tiny.config(config_name, *overrides).loss_weights.to_dict()
  after, _ = tiny.stepper(config_name, *overrides)(start, batch, weights)
  assert after.segmenter.batch_stats == {}
  for name, layer in after.segmenter.params['encoder'].items():
    old = start.segmenter.params['encoder'][name]
    assert (layer['bias'] != old['bias']).any(), name


def test_a_term_without_a_weight():
  settings = 'local_alignment', 'local.global_alignment=information'
  config, start = tiny.config(*settings), tiny.first_state(*settings)
  weights = config.loss_weights.to_dict()
  del weights['adv_aux']
  with pytest.raises(
    UserError, match=r'config\.loss_weights\.adv_aux is missing'
  ):
    jax.eval_shape(tiny.stepper(*settings), start, tiny.batch(config), weights)
