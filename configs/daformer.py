"""DAFormer: training strategies and a network for adaptation (CVPR 2022).

  python -m jaxuda.main --config=configs/daformer.py:streets

About 4 hours on one V100 (estimated by benchmarks/perf/hours.py); its authors
needed 16 on an RTX 2080 Ti.

Hoyer et al.; lhoyer/DAFormer, configs/daformer/. MiT-B5 with DAFormer's head,
DACS with rare class sampling, the thing-class feature distance, a learning rate
that warms up, and no pseudo labels in the lowest 120 and the highest 15 rows.
GTA5 -> Cityscapes 68.3 mIoU, SYNTHIA -> Cityscapes 60.9 on 16 classes; on
DeepLabV2, `encoder=resnet`, 56.0 and 54.7. The images are prepared at
--size=704x1280 (GTA5), 760x1280 (SYNTHIA) and 512x1024 (Cityscapes); start it
from SegFormer's ImageNet weights by `--config.init=mit_b5`.
"""

from configs import _self_training, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'daformer', encoder='mit')
  _self_training.set_recipe(config, arg.preset)
  _self_training.set_daformer(config, arg.preset)
  return config
