"""AdaptSegNet: adversarial alignment of segmentations (CVPR 2018).

  python -m jaxuda.main --config=configs/adaptsegnet.py:streets

About 27 hours on one V100 (reckoned: benchmarks/hours.py).

GTA5 -> Cityscapes 42.4 mIoU, multi-level; 41.4 for its single-level form,
`weights.seg_aux=0,weights.adv_aux=0`, and 44.1 with `gan=lsgan` and
`weights.adv_main=0.01` besides (README of its repository).
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'adaptsegnet')
  config.gan = 'vanilla'  # or lsgan
  # Or source_to_target, as paper 004: configs/ass_global.py.
  config.direction = 'target_to_source'
  # The code returns inside the loop over the branches: 6 and 12 are summed.
  config.model.live_branches = 2
  config.weights.update(adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0)
  common.adapt(config, setting)
  return common.finish(config, arg)
