"""Feature-level alignment: the "feat. only" baseline of paper 003.

  python -m jaxuda.main --config=configs/adaptsegnet_features.py:streets

About 26 hours on one V100 (reckoned: benchmarks/hours.py).

A binary discriminator on the features that the main head reads, paper 003,
Eqs. 1 to 4: GTA5 -> Cityscapes 39.3 mIoU (Table 3), SYNTHIA -> Cityscapes 35.4 /
40.8 on 16 / 13 classes. AdaptSegNet's code has no such form: the discriminator
is FADA's, which keeps the size of the map, and all else AdaptSegNet's.
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'fada')
  config.encoding = 'binary'
  config.clip = 0.9  # of no effect here
  config.model.update(multi_level=False, live_branches=2)
  config.discriminator.width = 256
  config.weights.update(adv_main=0.001, d_main=1.0)
  common.adapt(config, setting)
  return common.finish(config, arg)
