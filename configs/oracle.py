"""The oracle: trained on the target's own labels, an upper bound.

  python -m jaxuda.main --config=configs/oracle.py:streets

About 9 hours on one V100 (estimated by benchmarks/perf/hours.py).

Source-only training whose source is the target's labelled training set.
AdaptSegNet reports 65.1 mIoU on Cityscapes with one head of two branches, which
it is here, too; ASS, with SGD as in configs/ass.py, 65.9. AdaptSegNet's start,
ImageNet and COCO, is `--config.init=resnet101_caffe_coco`.
"""

import copy

from configs import common


def get_config(arg=None):
  """Presets: gta5 (default; Cityscapes' labels), synthia, streets, camvid."""
  config, _ = common.start(arg, 'oracle', 'source_only')
  config.source = copy.deepcopy(config.target)
  common.set_decoder(config, multi_level=False, aspp_branches=2)
  return config
