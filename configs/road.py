"""ROAD: near ImageNet's features, and aligned region by region (CVPR 2018).

  python -m jaxuda.main --config=configs/road.py:streets

About 30 hours on one V100 (estimated by benchmarks/perf/hours.py).

Chen, Li and Van Gool, "ROAD: Reality Oriented Adaptation for Semantic
Segmentation of Urban Scenes". Our reading: no code was published. GTA5 ->
Cityscapes 39.4 mIoU with a PSPNet on ResNet-101 (its abstract); 35.9 with
VGG-16, and 36.2 on SYNTHIA's 16 classes (second-hand). ImageNet's features,
which the target's stay near, are those of `init`, which is needed:
`--config.init=resnet101_caffe`. The regions that correspond are what ACCV 2020
argues against; each part alone is

  --config.loss_weights.adv_region=0.0
  --config.loss_weights.dist=0.0
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'road')
  config.model.decoder.multi_level = False
  config.discriminator.width = 256
  # The paper's weights, second-hand; its term of regions is a sum over nine. On
  # tune of streets they had 28.4 mIoU, ten times `adv_region` 27.6; AdaBN 30.5.
  common.set_weights(config, dist=0.1, adv_region=0.01, d_region=1.0)
  _stages.adapt(config, arg.preset)
  return config
