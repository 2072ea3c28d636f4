"""AP-CI: alignment of cropped images, which paper 001 compares with.

  python -m jaxuda.main --config=configs/advent_image_patch.py:streets

About 3 hours on one V100 (reckoned: benchmarks/hours.py).

Not the predictions are cropped but the images, and with them the source's labels
(section 4.2): GTA5 -> Cityscapes 20.62 mIoU, SYNTHIA -> Cityscapes 16.97 / 20.04 on
16 / 13 classes (Tables 3 and 4). Whether the cross entropy is on the crop is not
said; the paper contrasts its own, on entire images, with it.
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'advent_patch')
  config.patch = {'size': None, 'count': 1, 'redraw': False}
  config.information, config.objective = 'natural', 'flipped'
  config.discriminator.outputs = 2
  config.weights.update(adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0)
  config.model.norm = 'running'
  common.adapt(config, setting)
  config.patch.update(size=None, count=1)
  side = 32 if setting in ('streets', 'camvid') else 256
  config.source.crop = config.target.crop = (side, side)
  return common.finish(config, arg)
