"""FADA's third stage: self-distillation (ECCV 2020).

  python -m jaxuda.main --config=configs/fada_distill.py:streets

About 9 hours on one V100 (estimated by benchmarks/perf/hours.py).

train_self_distill.py. A fresh network is trained on the target images alone,
with all predictions of the second stage as labels: what is known passes through
them and no weight. GTA5 -> Cityscapes 49.2 mIoU, from 46.9; SYNTHIA ->
Cityscapes 45.2 / 52.5 on 16 / 13 classes (Tables 2 to 4); VGG-16,
`encoder=vgg16`, 43.8; 39.5 / 46.0.

`source.labels_stage` is the second stage, which is trained where it is not
there. `init` is torchvision's ResNet-101,
`--config.init=resnet101_torchvision`, in all three stages: the first one has
this one's. Training and scoring take Cityscapes at --size=1024x2048
(`python -m data.prepare`), the stages before at 512x1024.
"""

import copy

from configs import _stages, common, fada, fada_source
from jaxuda import config as config_lib


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'fada_distill', 'source_only')
  # No source image is read: the target is the one labelled stream.
  config.source = copy.deepcopy(config.target)
  config.optim.duplicate_params = False
  config.model.decoder.multi_level = False
  config.eval.missing_class_iou = 'zero'
  config.loss_weights = {'seg_source_main': 1.0}
  size = config.target.size
  if arg.preset not in common.RENDERED:
    config.steps = 20_000
    config.optim.update(lr=5e-4, decay_steps=31_250)
    fada_source.set_network(config)
    # For SYNTHIA the authors froze batch norm (issue 8 of their repository).
    if arg.preset == 'gta5':
      config.train_bn_affine = True
    else:
      config.bn_mode = 'frozen'
    config.source.update(
      size=(1024, 2048),
      batch_size=8,
      flip=True,
      jitter=(0.5, 0.5, 0.5, 0.2),
      scale=(0.5, 1.5),
      crop=(512, 1024),
    )
    config.eval.size = (1024, 2048)
  before = fada.get_config(f'{arg.preset},encoder={arg.encoder}')
  _stages.label_by(config, 'source', before, 'argmax')
  config_lib.share_value(config, before.init_stage or before, 'init')
  # The second stage sees the images at its own size (test.py).
  config.pseudo.input = size
  return config
