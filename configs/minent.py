"""MinEnt: entropy minimisation on the target (ADVENT, CVPR 2019).

  python -m jaxuda.main --config=configs/minent.py:streets

GTA5 -> Cityscapes 42.3 mIoU (ADVENT, Table 1).
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'minent')
  config.steps = 120_000
  config.weights.update(ent_main=0.001, ent_aux=0.0002)
  common.adapt(config, setting)
  return common.finish(config, arg)
