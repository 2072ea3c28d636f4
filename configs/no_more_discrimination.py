"""Cross-City's own method: domains told apart by class (ICCV 2017).

  python -m jaxuda.main --config=configs/no_more_discrimination.py:streets

About 27 hours on one V100 (estimated by benchmarks/perf/hours.py).

Chen et al., "No More Discrimination: Cross City Adaptation of Road Scene
Segmenters". Our reading: no code was published, and the priors that it has from
pairs of street views cannot be had. Cityscapes -> Rome 42.9 mIoU on 13 classes,
Rio 42.5, Tokyo 42.8, Taipei 39.6, from 38.2, 38.5, 39.2 and 35.1 (FADA, Table
1), with a dilated VGG-16; it starts from source-only training there, here from
ImageNet weights by `--config.init=vgg16_caffe`:

  --config=configs/no_more_discrimination.py:rome,encoder=vgg16
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'no_more_discrimination')
  config.model.decoder.multi_level = False
  config.discriminator.width = 256
  # Neither weight is published; FADA's. On tune of streets they had 31.3 mIoU,
  # ten times as much 29.6; AdaBN 30.5.
  common.set_weights(
    config, adv_main=0.001, adv_class=0.001, d_main=1.0, d_class=1.0
  )
  _stages.adapt(config, arg.preset)
  return config
