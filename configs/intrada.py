"""IntraDA: from the target's easy images to its hard ones (CVPR 2020).

  python -m jaxuda.main --config=configs/intrada.py:streets

About 16 hours on one V100 (estimated by benchmarks/perf/hours.py).

Pan et al., "Unsupervised Intra-domain Adaptation for Semantic Segmentation
through Self-Supervision". A chain of what is there: ADVENT, which is trained
where it is not there, labels the target; of the images with the lowest entropy,
0.67 of them, the labels are the source of ADVENT again, from the first one's
own start, ImageNet weights by `--config.init=resnet101_caffe`, and the other
images are its target. GTA5 -> Cityscapes 46.3 mIoU (second-hand), from a first
stage that was chosen by validation labels; here it is the last checkpoint.

The code multiplies the entropy by a factor that makes images with rare classes
easy, even where its README asks for none (input/predictions.py);
`--config.source.by_entropy.rare=None` is the paper's plain entropy.
"""

import copy

from configs import _stages, advent, common
from jaxuda import config as config_lib

# Of Cityscapes, as the code lists them.
RARE = (
  'wall',
  'fence',
  'pole',
  'traffic light',
  'traffic sign',
  'terrain',
  'rider',
  'truck',
  'bus',
  'train',
  'motorcycle',
)


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'intrada', 'advent')
  before = advent.get_config(f'{arg.preset},encoder={arg.encoder}')
  config.steps, config.model = before.steps, before.model
  config.optim, config.loss_weights = (
    copy.deepcopy(each) for each in (before.optim, before.loss_weights)
  )
  _stages.adapt(config, arg.preset)
  config.source = copy.deepcopy(config.target)
  for stream in ('source', 'target'):
    _stages.label_by(config, stream, before, 'argmax')
  easy, hard = config.source.by_entropy, config.target.by_entropy
  easy.part, hard.part = 'easy', 'hard'
  for key in ('easy_share', 'rare'):  # together they are all images
    config_lib.share_value(easy, hard, key)
  with config.ignore_type():
    easy.rare = RARE
  config_lib.share_value(config, before, 'init')
  return config
