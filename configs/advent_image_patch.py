"""AP-CI: alignment of cropped images, which ACCV 2020 compares with.

  python -m jaxuda.main --config=configs/advent_image_patch.py:streets

About 3 hours on one V100 (estimated by benchmarks/perf/hours.py).

Not the predictions are cropped but the images, and with them the source's
labels (section 4.2): GTA5 -> Cityscapes 20.62 mIoU, SYNTHIA -> Cityscapes 16.97
/ 20.04 on 16 / 13 classes (Tables 3 and 4). Whether the cross entropy is on the
crop is not said; the paper contrasts its own, on entire images, with it. Its
start is that of configs/advent_patch.py, `--config.init=resnet101_caffe`.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'advent_image_patch', 'advent_patch')
  config.discriminator.outputs = 2
  common.set_weights(
    config, adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0
  )
  config.bn_mode = 'running'
  _stages.adapt(config, arg.preset)
  config.patch.update(size=None, count=1)
  side = 32 if arg.preset in common.RENDERED else 256
  config.source.crop = config.target.crop = (side, side)
  return config
