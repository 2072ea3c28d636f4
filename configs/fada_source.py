"""FADA's first stage: the source alone (ECCV 2020).

  python -m jaxuda.main --config=configs/fada_source.py:streets

About 16 hours on one V100 (estimated by benchmarks/perf/hours.py).

Eq. 3; train_src.py, configs/deeplabv2_r101_src.yaml: GTA5 -> Cityscapes 36.8
mIoU, SYNTHIA -> Cityscapes 33.5 / 38.6 on 16 / 13 classes; VGG-16 28.3; 25.6 /
29.6 (Tables 2 and 3). The paper states half of this rate and a decay of 1e-4;
these are the code's. It starts from ImageNet weights by
`--config.init=resnet101_torchvision`, VGG-16 by `--config.init=vgg16_caffe`.
configs/fada.py goes on from here, and trains it where it is not there.
"""

from configs import common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'fada_source', 'source_only')
  config.optim.duplicate_params = False
  config.model.decoder.multi_level = False
  config.eval.missing_class_iou = 'zero'
  if arg.preset not in common.RENDERED:
    config.steps = 20_000
    config.optim.update(lr=5e-4, decay_steps=31_250)
    set_network(config)
    config.bn_mode = 'frozen'
    # Four processes of two images, each with its own mean; here each image's.
    config.ce_reduction = 'image'
    # No jitter: its strengths are in the second stage's files alone.
    config.source.update(batch_size=8, sampling='class_balanced')
  return config


def set_network(config) -> None:
  """Set what FADA's weights expect: torchvision's ResNet, or caffe's VGG-16."""
  if config.model.encoder.name == 'vgg16':
    config.model.input_norm = 'caffe_vgg'
  else:
    config.model.input_norm = config.model.encoder.variant = 'torchvision'
