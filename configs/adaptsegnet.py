"""AdaptSegNet: adversarial alignment of segmentations (CVPR 2018).

  python -m jaxuda.main --config=configs/adaptsegnet.py:streets

About 27 hours on one V100 (estimated by benchmarks/perf/hours.py).

train_gta2cityscapes_multi.py. GTA5 -> Cityscapes 42.4 mIoU, multi-level; 41.4
for its single-level form, `levels=1`, and 44.1 with `--config.gan=lsgan` and
`--config.loss_weights.adv_main=0.01` on top (README of its repository). SYNTHIA
-> Cityscapes, 13 classes: 46.7 and 45.9 (ACCV 2020, Table 1; ICIP 2020, Table
1). It starts from ImageNet and COCO by `--config.init=resnet101_caffe_coco`.
VGG-16, which learns at one rate, 35.0 and 37.6:

  --config=configs/adaptsegnet.py:gta5,encoder=vgg16
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'adaptsegnet', levels=('2', '1'))
  # The code returns inside the loop over the branches: 6 and 12 are summed.
  common.set_decoder(config, aspp_branches=2)
  if arg.levels == '1':
    config.model.decoder.multi_level = False
  common.set_weights(
    config, adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0
  )
  if arg.encoder == 'vgg16':
    config.optim.head_factor = 1.0  # model/deeplab_vgg.py: one group
  _stages.adapt(config, arg.preset)
  return config
