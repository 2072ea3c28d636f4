"""Numbers that no run can use are refused by name."""

import re

import pytest

from jaxuda import config as config_lib
from jaxuda.training import checks
from jaxuda.utils import sharding
from jaxuda.utils.errors import UserError


def check(name, overrides=()):
  spec = f'configs/{name}.py:streets,encoder=resnet'
  config = config_lib.load(spec, overrides)
  checks.check(config, sharding.make_mesh())


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    ('steps=0', 'steps=0 must be at least 1'),
    ('model.encoder.width=0', r'encoder\.width=0 must be at least 1'),
    (
      'model.encoder.blocks=(0,1,1,1)',
      r'encoder\.blocks=\(0, 1, 1, 1\) must be at least 1',
    ),
    (
      'model.decoder.dilations=(0,)',
      r'decoder\.dilations=\(0,\) must be at least 1',
    ),
    ('discriminator.width=0', r'discriminator\.width=0 must be at least 1'),
    ('eval.scales=(1.0,0.0)', r'at least 0\.1 and at most 10'),
    ('optim.decay_steps=0', r'optim\.decay_steps=0 must be at least 1'),
    ('optim.lr=-1', r'optim\.lr=-1\.0 must be at least 0'),
    ('eval.batch_size=0', r'eval\.batch_size=0 must be at least 1'),
    ('patch.size=1000', r'patch\.size=1000 must be 32'),
    (
      'model.detail=(200,64)',
      r'source\.size=\(96, 192\) is smaller than .*detail=\(200, 64\)',
    ),
  ],
)
def test_numbers_that_cannot_work(override, sentence):
  check('advent_patch')
  with pytest.raises(UserError, match=rf'^config\..*{sentence}'):
    check('advent_patch', [override])


def test_a_refusal_says_what_the_setting_means():
  momentum = re.escape(
    'config.optim.momentum=None must be a number (or the first beta of AdamW).'
  )
  with pytest.raises(UserError, match=f'^{momentum}$'):
    check('advent', ['optim.momentum=None'])


def test_weights():
  with pytest.raises(UserError, match=r'weights\.d_main=None must be a num'):
    check('advent', ['loss_weights.d_main=None'])
  config = config_lib.load('configs/advent.py:streets', ['target.labels=x'])
  checks.check(config, sharding.make_mesh())
  with config.unlocked():
    del config.loss_weights.seg_target_main
  with pytest.raises(UserError, match=r'--config\.loss_weights\.seg_target_'):
    checks.check(config, sharding.make_mesh())


@pytest.mark.parametrize(
  ('name', 'overrides', 'sentence'),
  [
    (
      'local_alignment',
      ['local.gap=0.8'],
      r'local\.gap=0\.8 must be at least 0\.0 and at most 0\.5',
    ),
    (
      'local_alignment',
      ['local.alpha=0'],
      r'local\.alpha=0\.0 must be at least 0\.001',
    ),
    (
      'local_alignment',
      ['source.batch_size=8'],
      r'source\.batch_size=8 and config\.target\.batch_size=4 must be the same',
    ),
    (
      'local_alignment',
      ['grad_accum_steps=2', 'local.mixture=None'],
      'grad_accum_steps=2: the local alignment is a mean',
    ),
    (
      'ass',
      ['grad_accum_steps=2'],
      'grad_accum_steps=2: the alignment of classes is a mean',
    ),
    (
      'fada',
      ['encoding=hard', 'grad_accum_steps=2'],
      'grad_accum_steps=2: the loss of hard',
    ),
    (
      'mcd',
      ['grad_accum_steps=2'],
      'grad_accum_steps=2: what the heads learn of the source is a mean',
    ),
    (
      'pycda',
      ['grad_accum_steps=2'],
      'grad_accum_steps=2: the loss of own labels is a mean',
    ),
    (
      'adapt_patch',
      ['grad_accum_steps=2'],
      "grad_accum_steps=2: the classifier's loss of modes is a mean",
    ),
    (
      'cycada',
      ['grad_accum_steps=2'],
      "grad_accum_steps=2: the gate's accuracy is a mean",
    ),
    ('fada', ['clip=1.5'], r'clip=1\.5 must be at least 0\.001 and at most 1'),
    ('ass', ['labelled.count=0'], r'labelled\.count=0 must be at least 1'),
    ('fada', ['temperature=0'], r'temperature=0\.0 must be at least 0\.001'),
    (
      'minent',
      ["prior.shares=('a','b')"],
      r'prior\.shares=.* must be one or more numbers',
    ),
    ('minent', ['prior.shares=(0.5,0.5)'], r'prior\.shares has 2 numbers'),
    ('advent', ['eval.network=ema'], 'eval.network=ema: advent has no teacher'),
    ('minent', ['entropy_share=0.0'], r'entropy_share=0\.0 must be at least 0'),
  ],
)
def test_what_a_method_refuses(name, overrides, sentence):
  check(name)
  with pytest.raises(UserError, match=sentence):
    check(name, overrides)
