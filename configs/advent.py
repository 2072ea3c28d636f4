"""ADVENT: adversarial alignment of self-information maps (CVPR 2019).

  python -m jaxuda.main --config=configs/advent.py:streets

About 22 hours on one V100 (estimated by benchmarks/perf/hours.py).

GTA5 -> Cityscapes 43.8 mIoU; SYNTHIA -> Cityscapes 40.8 / 47.6 on 16 / 13
classes (AdvEnt, Tables 1 and 2 of ACCV 2020, which quotes it). With VGG-16,
`encoder=vgg16`, 36.1; 31.4 / 36.6 (FADA's tables). It starts from ImageNet
weights by `--config.init=resnet101_caffe`.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'advent')
  # EARLY_STOP is 120,000, and the loop ends after the step of that index.
  config.steps = 120_001
  common.set_weights(
    config, adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0
  )
  if arg.preset == 'synthia':
    # DADA's configuration, by the same authors, who published no other.
    config.steps = 90_001
    config.optim.decay_steps = 90_000
    config.model.decoder.multi_level = False
  _stages.adapt(config, arg.preset)
  if arg.preset in common.RENDERED:
    # On tune 0.001 had 30.3 mIoU, 0.005 31.2, 0.02 28.9; AdaBN 30.4.
    config.loss_weights.adv_main = 0.005
  return config
