"""Numbers that no run can use are refused by name."""

import pytest
import tiny

from jaxuda import check, sharding
from jaxuda import config as config_lib
from jaxuda.errors import UserError


def load(*overrides):
  page = f'{tiny.ROOT}/configs/advent_patch.py:streets'
  return config_lib.load(page, overrides)


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    ('steps=0', 'steps=0 must be at least 1'),
    ('model.width=0', r'model\.width=0 must be at least 1'),
    ('model.blocks=(0,1,1,1)', r'model\.blocks=\(0, 1, 1, 1\) must be'),
    ('model.dilations=(0,)', r'model\.dilations=\(0,\) must be at least 1'),
    ('discriminator.width=0', r'discriminator\.width=0 must be at least 1'),
    ('eval.scales=(1.0,0.0)', r'at least 0\.1 and at most 10'),
    ('optim.horizon=0', r'optim\.horizon=0 must be at least 1'),
    ('optim.lr=-1', r'optim\.lr=-1\.0 must be at least 0'),
    ('eval.batch_size=0', r'eval\.batch_size=0 must be a multiple'),
    ('patch.size=1000', r'patch\.size=1000 must be 32'),
  ],
)
def test_numbers_that_cannot_work(override, sentence):
  mesh = sharding.make_mesh()
  check.check(load(), mesh)
  with pytest.raises(UserError, match=sentence):
    check.check(load(override), mesh)
