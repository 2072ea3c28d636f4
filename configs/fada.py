"""FADA: fine-grained adversarial alignment of features (ECCV 2020).

  python -m jaxuda.main --config=configs/fada.py:streets

About 28 hours on one V100 (reckoned: benchmarks/hours.py).

The adversarial stage (paper 003, Eqs. 2, 5 and 6, class knowledge by Eqs. 7 and
8; train_adv.py, configs/deeplabv2_r101_adv.yaml): GTA5 -> Cityscapes 46.9 mIoU,
SYNTHIA -> Cityscapes 41.5 on 16 classes (Table 5); 49.2 and 45.2 after
self-distillation (Tables 4 and 2).
`init` names its source stage, which is trained where it is not there. Published
with self-distillation alone: VGG-16, 43.8; 39.5 / 46.0 on 16 / 13 classes,

  --config=configs/fada_distill.py:gta5,model.backbone=vgg16,model.pixels=caffe_vgg

and testing at several scales, 50.1 from 49.2:

  python -m jaxuda.evaluate --workdir=RUN --scales=0.7,1.0,1.3 --flip
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'fada')
  config.steps = 40_000
  # The class knowledge: 'soft', the softmax cut at `clip`; 'hard', the likeliest
  # class of pixels that reach it: 45.7 (Table 5); or 'binary', none at all: the
  # baseline of Eqs. 1 to 4, configs/adaptsegnet_features.py.
  config.encoding = 'soft'
  config.clip = 0.9
  config.optim.repeats = 'dedupe'
  config.model.update(multi_level=False, temperature=1.8)
  config.discriminator.width = 256
  config.eval.absent = 'zero'
  config.weights.update(adv_main=0.001, d_main=1.0)
  if setting in ('gta5', 'synthia'):
    config.optim.horizon = 62_500
    config.model.update(
      style='torchvision', pixels='torchvision', norm='frozen'
    )
    # Four processes of one image a domain, each with its own mean.
    config.seg_mean = 'image'
    config.target.batch_size = 4
    # There the jitter comes before the resize.
    config.source.update(
      batch_size=4, jitter=(0.5, 0.5, 0.5, 0.2), sampling='class_balanced'
    )
    config.init = f'configs/fada_source.py:{setting}'
  common.adapt(config, setting)
  return common.finish(config, arg)
