"""HRDA: the context of a large crop and the detail of a small one (ECCV 2022).

  python -m jaxuda.main --config=configs/hrda.py:streets

About 12 hours on one V100 (estimated by benchmarks/perf/hours.py); its authors
needed 32 on a Titan RTX.

Hoyer et al.; lhoyer/HRDA, configs/hrda/. DAFormer's training of a segmenter
that sees each crop of 1024x1024 twice, at half its resolution and 512x512 of it
in full, and that learns where which of the two counts. GTA5 -> Cityscapes 73.8
mIoU, SYNTHIA -> Cityscapes 65.8 on 16 classes; on DeepLabV2, `encoder=resnet`,
63.0 and 61.2. The images are prepared at --size=1407x2560 (GTA5), 1520x2560
(SYNTHIA) and 1024x2048 (Cityscapes); start it from SegFormer's ImageNet weights
by `--config.init=mit_b5`.
"""

from configs import _self_training, common
from jaxuda import config as config_lib


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'hrda', 'daformer', encoder='mit')
  _self_training.set_recipe(config, arg.preset)
  _self_training.set_daformer(config, arg.preset)
  for given in ('source', 'mixed'):
    common.set_weights(
      config, **{f'seg_{given}_main': 0.9, f'seg_{given}_detail': 0.1}
    )
  config.source.rare_class.crop_share = 2.0
  if arg.encoder == 'resnet':
    config.model.encoder.variant = 'v1c'  # the others' logits have odd sides
  if arg.preset in common.RENDERED:
    for part in (config.source, config.target, config.eval):
      part.size = part.size and tuple(2 * side for side in part.size)
    config.source.rare_class.pixels *= 4
    config_lib.crop_alike(config)
    crop = config.source.crop
    seen = crop if any(crop) else config.source.size
    config.model.detail = tuple(side // 2 for side in seen)
    return config
  config.model.detail = (512, 512)
  config.source.update(
    size=(1407, 2560) if arg.preset == 'gta5' else (1520, 2560),
    crop=(1024, 1024),
  )
  config.target.update(
    size=(1024, 2048), crop=(1024, 1024), margins=(30, 240, 30, 30)
  )
  config.teacher.margins = (0, 0)
  config.eval.update(size=(1024, 2048), window=(1024, 1024), batch_size=1)
  return config
