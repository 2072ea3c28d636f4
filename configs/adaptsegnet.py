"""AdaptSegNet: adversarial alignment of segmentations (CVPR 2018).

  python -m jaxuda.main --config=configs/adaptsegnet.py:streets

About 27 hours on one V100 (reckoned: benchmarks/hours.py).

train_gta2cityscapes_multi.py. GTA5 -> Cityscapes 42.4 mIoU, multi-level; 41.4 for
its single-level form, `weights.seg_aux=0,weights.adv_aux=0`, and 44.1 with
`gan=lsgan` and `weights.adv_main=0.01` besides (README of its repository).
SYNTHIA -> Cityscapes, 13 classes: 46.7 and 45.9 (paper 001, Table 1; paper 000,
Table 1). VGG-16, which learns at one rate, 35.0 and 37.6:

  --config=configs/adaptsegnet.py:gta5,model.backbone=vgg16,model.multi_level=False
"""

from configs import common
from jaxuda.config import loading as config_lib


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'adaptsegnet')
  config.gan = 'vanilla'  # or lsgan
  # Or source_to_target, as paper 004: configs/ass_global.py.
  config.direction = 'target_to_source'
  # The code returns inside the loop over the branches: 6 and 12 are summed.
  config.model.live_branches = 2
  config.weights.update(adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0)
  if config_lib.given(arg or '', 'model.backbone') == 'vgg16':
    config.optim.head_factor = 1.0  # model/deeplab_vgg.py: one group
  common.adapt(config, setting)
  return common.finish(config, arg)
