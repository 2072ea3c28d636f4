"""CLAN: category-level adversaries (CVPR 2019).

  python -m jaxuda.main --config=configs/clan.py:streets

About 18 hours on one V100 (reckoned: benchmarks/hours.py).

Two heads on the same features; where they disagree, the adversarial loss counts
more. GTA5 -> Cityscapes 43.2 mIoU, SYNTHIA -> Cityscapes 47.8 on 13 classes (its
tables; 41.3 reproduced for GTA5, issue 19 of its repository; CLAN_train.py).
Its VGG-16 (36.6; 39.3) is in no code, and one head is what ours has.

The code also enlarges or shrinks an image at random beside a label that keeps
its size; here images keep theirs.
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'clan')
  config.steps = 100_000
  config.seg_focus = 2.0
  config.model.twin = True
  config.optim.update(horizon=100_000, warmup=5_000)
  config.clan = {
    'epsilon': 0.4,
    'local': 10.0 if setting == 'synthia' else 40.0,
    'preheat': 5_000,  # steps with the plain loss
  }
  config.weights.update(seg_aux=1.0, adv_main=0.001, d_main=1.0, heads=0.02)
  config.source.flip = config.target.flip = True
  common.adapt(config, setting)
  if setting in ('streets', 'camvid'):
    config.model.multi_level = True
    config.init += ',model.multi_level=True,model.twin=True,weights.seg_aux=1.0'
    config.clan.preheat = 50
    config.optim.update(horizon=None, warmup=20)
  return common.finish(config, arg)
