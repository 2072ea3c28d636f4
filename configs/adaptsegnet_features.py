"""Feature-level alignment: the "feat. only" baseline of FADA.

  python -m jaxuda.main --config=configs/adaptsegnet_features.py:streets

About 26 hours on one V100 (estimated by benchmarks/perf/hours.py).

A binary discriminator on the features that the main head reads (FADA, Eqs. 1 to
4): GTA5 -> Cityscapes 39.3 mIoU (Table 3), SYNTHIA -> Cityscapes 35.4 / 40.8 on
16 / 13 classes. AdaptSegNet's code has no such form: the discriminator is
FADA's, which keeps the size of the map, and all else AdaptSegNet's, as its
start, `--config.init=resnet101_caffe_coco`.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'adaptsegnet_features', 'fada')
  config.encoding = 'binary'
  common.set_decoder(config, multi_level=False, aspp_branches=2)
  config.discriminator.width = 256
  common.set_weights(config, adv_main=0.001, d_main=1.0)
  _stages.adapt(config, arg.preset)
  return config
