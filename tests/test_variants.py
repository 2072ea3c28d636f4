"""Every experiment that is not a method's own page: three steps of each."""

import jax
import pytest
import tiny

from jaxuda.utils.errors import UserError

PRIOR = tuple(1 / tiny.CLASSES for _ in range(tiny.CLASSES))
ONE_HEAD = 'model.multi_level=False'
VGG = ('model.backbone=vgg16', ONE_HEAD)
TORCHVISION = (
  'model.style=torchvision',
  'model.norm=frozen',
  'seg_mean=image',
  'optim.lr=1e-6',  # random weights and nothing that normalises
)
VARIANTS = {
  'AdaptSegNet, LSGAN': ('adaptsegnet', 'gan=lsgan', ONE_HEAD),
  'AdaptSegNet, VGG-16': ('adaptsegnet', *VGG),
  'AdaptSegNet, features': ('adaptsegnet_features',),
  'AdvEnt, VGG-16': ('advent', *VGG),
  'MinEnt, entropy range, prior': (
    'minent',
    'entropy_share=0.5',
    f'prior.shares={PRIOR}',
    ONE_HEAD,
  ),
  'AGP-GI': ('advent_patch', 'patch.size=None', ONE_HEAD),
  'random patches, minimax': ('advent_patch', 'objective=reversal', ONE_HEAD),
  'AP-CI': ('advent_image_patch', 'source.crop=32x32', 'target.crop=32x32'),
  'S2': (
    'local_alignment',
    'local.mixture=None',
    'local.leave_out_background=False',
  ),
  'mixture of pixels beside the game of ADVENT': (
    'local_alignment',
    'local.mixture=pixels',
    'local.global_game=information',
    ONE_HEAD,
  ),
  'FADA, hard': ('fada', 'encoding=hard', 'clip=0.1'),
  'FADA, VGG-16': ('fada', *VGG),
  'FADA, torchvision': ('fada', *TORCHVISION),
  'ASS, n = 0': ('ass_global',),
  'ASS, GA': ('ass', 'semantics=None', ONE_HEAD),
  'ASS, FCSA': ('ass', 'semantics=vectors', ONE_HEAD),
  'BDL, M0': ('bdl', ONE_HEAD),
  'BDL, M1': ('bdl_ssl', ONE_HEAD),
  'S4 on BDL': (
    'local_alignment',
    'init=configs/bdl_ssl.py:streets',
    ONE_HEAD,
  ),
  'S4 with extra background, beside the game of AdaptSegNet': (
    'local_alignment',
    'classes=cityscapes19-building-sky',
    'local.global_game=segmentations',
    ONE_HEAD,
  ),
  'CRST, MRKLD': ('cbst', 'weights.kld_main=0.1'),
  'CRST, LRENT': ('cbst', 'pseudo.soft=0.25', ONE_HEAD),
  "FADA's source stage": ('fada_source', *TORCHVISION),
  'FADA, self-distilled': ('fada_distill', 'model.affine=trained', ONE_HEAD),
  'oracle': ('oracle',),
}


# The part of the method that a variant leaves out.
WITHOUT = {'S2': 'mixture', 'ASS, GA': 'semantic'}


@pytest.mark.parametrize('variant', VARIANTS)
def test_three_steps(variant, tmp_path):
  """Terms, one compilation, two players apart, and a restart to the bit."""
  page, *overrides = VARIANTS[variant]
  config = tiny.config(page, *overrides)
  run, start = (
    tiny.stepper(page, *overrides),
    tiny.first_state(page, *overrides),
  )
  weights, batch = config.weights.to_dict(), tiny.batch(config)
  absent = WITHOUT.get(variant), None if config.model.multi_level else 'aux'
  measured = tiny.three_steps(page, *overrides, folder=tmp_path)
  terms = {k.removeprefix('loss_') for k in measured if k.startswith('loss_')}
  assert terms == {k for k in weights if k.split('_')[-1] not in absent}

  first, _ = run(start, batch, weights)
  for player, other, of_discriminator in (
    ('segmenter', 'discriminators', True),
    ('discriminators', 'segmenter', False),
  ):
    terms = [k for k in weights if k.startswith('d_') == of_discriminator]
    still, _ = run(start, batch, weights | dict.fromkeys(terms, 0.0))
    assert tiny.same(
      getattr(still, player).params, getattr(first, player).params
    )
    if terms:
      moved = getattr(still, other).params, getattr(first, other).params
      assert not tiny.same(*moved)
  assert run._cache_size() == 1


def test_vgg16_has_no_batch_norm_and_trains_every_layer():
  page, *overrides = VARIANTS['AdvEnt, VGG-16']
  start = tiny.first_state(page, *overrides)
  assert set(start.discriminators.params) == {'main'}
  batch = tiny.batch(tiny.config(page, *overrides))
  weights = tiny.weights(page)
  after, _ = tiny.stepper(page, *overrides)(start, batch, weights)
  assert after.segmenter.batch_stats == {}
  for name, layer in after.segmenter.params['backbone'].items():
    old = start.segmenter.params['backbone'][name]
    assert (layer['bias'] != old['bias']).any(), name


def test_a_term_without_a_weight():
  settings = 'local_alignment', 'local.global_game=information'
  config, start = tiny.config(*settings), tiny.first_state(*settings)
  weights = config.weights.to_dict()
  del weights['adv_aux']
  with pytest.raises(UserError, match=r'config\.weights\.adv_aux is missing'):
    jax.eval_shape(tiny.stepper(*settings), start, tiny.batch(config), weights)
