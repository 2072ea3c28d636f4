"""PyCDA: own labels of pixels, boxes and whole images (ICCV 2019).

  python -m jaxuda.main --config=configs/pycda.py:streets

About 17 hours on one V100 (estimated by benchmarks/perf/hours.py).

Lian et al., "Constructing Self-motivated Pyramid Curriculums for Cross-Domain
Semantic Segmentation: A Non-Adversarial Approach"; train_pycda.py. GTA5 ->
Cityscapes 47.4 mIoU; SYNTHIA -> Cityscapes 46.7 / 53.3 on 16 / 13 classes (its
paper, second-hand). Its network is a PSPNet with a dilation of 8, which is not
here: on DeepLab these are not its numbers.

It goes on from source-only training, which is trained where it is not there,
from ImageNet weights by `--config.init_stage.init=resnet101_caffe`, and takes
plain SGD without momentum or decay. The class shares of `balance` are counted
from the source's labels, where the code lists them; and the running statistics
follow the target, where the code estimates them on it at the end.
"""

from configs import _stages, common, source_only
from jaxuda import config as config_lib


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'pycda')
  config.model.decoder.multi_level = False
  common.set_weights(config, pixel_main=1.0, box_main=1.0, balance_main=1.0)
  if arg.preset not in common.RENDERED:
    config.steps = 35_000
    config.optim.update(
      lr=1.6e-4,
      momentum=0.0,
      weight_decay=0.0,
      decay_steps=None,
      duplicate_params=False,
    )
    crop = {'batch_size': 8, 'crop': (480, 560)}
    config.source.update(**crop)
    config.target.update(**crop)
    if config.source.name == 'gta5':
      config.source.size = (560, 1024)
    # The code estimates the target's statistics once more, at its end.
    config.bn_stats_from = 'target'
  _stages.adapt(config, arg.preset)
  if arg.preset in common.RENDERED:
    config.steps = common.STEPS // 2
    # On tune weights of 1 had 24.4 mIoU, of 0.1 33.5; AdaBN 30.5.
    common.set_weights(config, pixel_main=0.1, box_main=0.1, balance_main=0.1)
  before = source_only.get_config(f'{arg.preset},encoder={arg.encoder}')
  _stages.start_from(config, before)
  for key in ('name', 'size'):
    config_lib.share_value(config.source, before.source, key)
  return config
