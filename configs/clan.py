"""CLAN: category-level adversaries (CVPR 2019).

  python -m jaxuda.main --config=configs/clan.py:streets

About 18 hours on one V100 (estimated by benchmarks/perf/hours.py).

Two heads on the same features; where they disagree, the adversarial loss counts
more. GTA5 -> Cityscapes 43.2 mIoU, SYNTHIA -> Cityscapes 47.8 on 13 classes
(its tables; 41.3 reproduced for GTA5, issue 19 of its repository;
CLAN_train.py). It starts as AdaptSegNet, `--config.init=resnet101_caffe_coco`.
Its VGG-16 (36.6; 39.3) is in no code, and one head is what ours has.

The code also enlarges or shrinks an image at random beside a label that keeps
its size; here images keep theirs.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'clan')
  config.steps = 100_000
  config.focal_gamma = 2.0
  config.model.decoder.shared_features = True
  config.optim.update(decay_steps=100_000, warmup=5_000)
  config.clan.local = 10.0 if arg.preset == 'synthia' else 40.0
  common.set_weights(config, seg_source_aux=1.0, seg_target_aux=1.0, heads=0.02)
  common.set_weights(config, adv_main=0.001, d_main=1.0)
  config.source.flip = config.target.flip = True
  _stages.adapt(config, arg.preset)
  if arg.preset in common.RENDERED:
    config.model.decoder.multi_level = True
    config.clan.preheat = 50
    config.optim.update(decay_steps=None, warmup=20)
  return config
