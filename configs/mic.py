"""MIC: masked image consistency, on any method (CVPR 2023).

  python -m jaxuda.main --config=configs/mic.py:streets
  python -m jaxuda.main --config=configs/mic.py:streets,on=advent_patch

About 6 hours on one V100 (estimated by benchmarks/perf/hours.py).

Hoyer et al.; lhoyer/MIC, seg/configs/mic/. The target once more behind a mask
that hides 70 % of its blocks of 32x32 pixels, or of 64x64 on HRDA. `on` is the
config that it is added to, with its settings, data and weights: on `hrda` it
has 75.9 mIoU on GTA5 -> Cityscapes and 67.3 on SYNTHIA -> Cityscapes, 16
classes, and with DeepLabV2, `on=hrda,encoder=resnet`, 64.2 and 62.4; on
DAFormer (default) with DeepLabV2, `encoder=resnet`, 59.4, and on `dacs` 56.0.
It starts as its host does, on these by `--config.init=mit_b5` or, with
DeepLabV2, `--config.init=resnet101_v1c`.
"""

import importlib

from configs import common
from jaxuda import config as config_lib
from jaxuda import methods
from jaxuda.models import encoders
from jaxuda.utils import names

# Those whose target has no labels, in the order of docs/papers.md.
HOSTS = (
  'daformer',
  'dacs',
  'hrda',
  'adabn',
  'adaptsegnet',
  'adaptsegnet_features',
  'advent',
  'advent_image_patch',
  'advent_patch',
  'ass_global',
  'clan',
  'fada',
  'mean_teacher',
  'minent',
)


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  words = config_lib.parse_arg(
    arg,
    preset=tuple(common.PRESETS),
    encoder=('', *names.modules(encoders)),
    on=HOSTS,
  )
  encoder = f',encoder={words.encoder}' if words.encoder else ''
  host = importlib.import_module(f'configs.{words.on}')
  config = host.get_config(f'{words.preset}{encoder}')
  config.name = config.name.replace(words.on, 'mic', 1)
  if words.on != HOSTS[0]:
    config.name += f'-on={words.on}'
  config.method = f'mic+{config.method}'
  settings = methods.load(config.method).settings
  known = config_lib.flatten(config)
  config_lib.add(config, {k: v for k, v in settings.items() if k not in known})
  common.set_weights(config, seg_masked_main=1.0, seg_masked_aux=0.1)
  if any(config.model.detail):
    common.set_weights(config, seg_masked_main=0.9, seg_masked_detail=0.1)
    config.mask.block = 64
  if words.preset in common.RENDERED:
    config.mask.block //= 4  # as many blocks an image as of 512 pixels
  return config
