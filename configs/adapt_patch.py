"""AdaptPatch: the target's patches have the source's modes (ICCV 2019).

  python -m jaxuda.main --config=configs/adapt_patch.py:streets

About 27 hours on one V100 (estimated by benchmarks/perf/hours.py).

Tsai et al., "Domain Adaptation for Structured Output via Discriminative Patch
Representations". Our reading: no code was published. GTA5 -> Cityscapes 46.5
mIoU, which includes images in the target's style, and 43.2 without (its paper,
second-hand); VGG-16, `encoder=vgg16`, 37.5; SYNTHIA -> Cityscapes 40.0 / 46.5,
with VGG-16 33.7 / 39.6 (FADA, Tables 3 and 2). Modes of patches where
configs/advent_patch.py has random places. It starts as AdaptSegNet, by
`--config.init=resnet101_caffe_coco`.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'adapt_patch')
  common.set_decoder(config, aspp_branches=2)  # as AdaptSegNet
  # Its three weights, second-hand; that of the second head is ours. On tune of
  # streets they had 29.9 mIoU, ten times the adversarial ones 30.0; AdaBN 30.5.
  common.set_weights(
    config,
    ce_patch=0.01,
    adv_main=0.0005,
    adv_aux=0.0001,
    adv_patch=0.0001,
    d_main=1.0,
    d_aux=1.0,
    d_modes=1.0,
    d_patch=1.0,
  )
  _stages.adapt(config, arg.preset)
  return config
