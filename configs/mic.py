"""MIC: masked image consistency (CVPR 2023).

  python -m jaxuda.main --config=configs/mic.py:streets

About 24 hours on one V100 at most: it trains on three passes a step, where
configs/daformer.py has two.

Hoyer et al.; lhoyer/MIC, seg/configs/mic/, on DAFormer: the target once more
behind a mask that hides 70 % of its blocks of 32x32 pixels. On HRDA it has 75.9
mIoU on GTA5 -> Cityscapes and 67.3 on SYNTHIA -> Cityscapes, 16 classes; on
DAFormer with DeepLabV2, `encoder=resnet`, 59.4; on DACS with DeepLabV2, 56.0:

  --config=configs/mic.py:gta5,encoder=resnet --config.source.sampling=uniform
  --config.feature_distance.classes=None --config.teacher.decay=0.99
  --config.teacher.margins=0,0

Data and weights are configs/daformer.py's.
"""

from configs import _self_training, common


def get_config(arg=None):
  """Presets: gta5 (default), synthia, streets, camvid."""
  config, arg = _self_training.start(arg, 'mic', 'mit')
  _self_training.set_recipe(config, arg.preset)
  _self_training.set_daformer(config, arg.preset)
  common.set_weights(config, seg_masked_main=1.0, seg_masked_aux=0.1)
  return config
