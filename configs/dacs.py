"""DACS: mixed sampling across domains (WACV 2021).

  python -m jaxuda.main --config=configs/dacs.py:streets

About 5 hours on one V100 (estimated by benchmarks/perf/hours.py).

Tranheden et al., in the recipe that DAFormer's framework gives it (lhoyer/
DAFormer, configs of its Table 5): DeepLabV2 on ResNet-101 v1c, AdamW, 40,000
steps of 2 + 2 crops of 512x512. GTA5 -> Cityscapes 52.1 mIoU in the paper and
54.2 in this recipe, SYNTHIA -> Cityscapes 48.3 on 16 classes. The images are
prepared at --size=704x1280 (GTA5) and 512x1024; start it from mmcv's ImageNet
weights by `--config.init=resnet101_v1c`.

Its own recipe (vikolss/DACS) starts from COCO weights of the caffe ResNet,
which are listed as resnet101_caffe_dacs, with SGD, 250,000 steps, images of its
own mixed classes, and a stronger jitter:

  --config.teacher.first=1 --config.mix.per_image=True
  --config.strong.jitter=0.25
"""

from configs import _self_training, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'dacs')
  _self_training.set_recipe(config, arg.preset)
  config.teacher.decay = 0.99
  return config
