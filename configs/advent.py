"""ADVENT: adversarial alignment of self-information maps (CVPR 2019).

  python -m jaxuda.main --config=configs/advent.py:streets

About 22 hours on one V100 (reckoned: benchmarks/hours.py).

GTA5 -> Cityscapes 43.8 mIoU; SYNTHIA -> Cityscapes 40.8 / 47.6 on 16 / 13
classes (AdvEnt, Tables 1 and 2 of paper 001, which quotes it). With VGG-16,
`model.backbone=vgg16,model.multi_level=False`, 36.1; 31.4 / 36.6 (paper 003).
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'advent')
  # EARLY_STOP is 120,000, and the loop ends after the step of that index.
  config.steps = 120_001
  config.information = 'normalised'
  config.weights.update(adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0)
  if setting == 'synthia':
    # DADA's configuration, by the same authors, who published no other.
    config.steps = 90_001
    config.optim.horizon = 90_000
    config.model.multi_level = False
  common.adapt(config, setting)
  if setting in ('streets', 'camvid'):
    config.weights.adv_main = 0.02  # chosen on tune
  return common.finish(config, arg)
