"""BDL's first stage, M0: adversarial alignment of segmentations (CVPR 2019).

  python -m jaxuda.main --config=configs/bdl.py:streets

About 14 hours on one V100 (reckoned: benchmarks/hours.py).

Li et al., "Bidirectional Learning for Domain Adaptation of Semantic
Segmentation"; BDL.py. The game is AdaptSegNet's on one head with four branches.
GTA5 -> Cityscapes 44.3 mIoU (issues 18 and 30 of its repository), on source
images in the target's style: a folder `translated/` in the raw one, with the
names of the originals, is prepared by

  python -m data.prepare gta5/translated --raw=DIR --size=720x1280

and named by `source.name=gta5/translated`. Its VGG-16 (41.3) is an FCN-8s, which is not
here. configs/bdl_ssl.py goes on from here.
"""

from configs import common


def start(arg=None):
  """What both stages share: (config, setting)."""
  config, setting = common.start(arg, 'adaptsegnet')
  # The stop is looked for after 80,000, when a line is printed: the code goes
  # on to 80,100, but its snapshot is of 80,000.
  config.steps = 80_000
  config.gan, config.direction = 'vanilla', 'target_to_source'
  config.model.multi_level = False
  config.weights.update(adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0)
  config.eval.upsample = 'probabilities'
  if setting == 'synthia':
    # A head of 19 classes, of which 16 and 13 are scored (evaluation.py).
    config.classes = 'synthia16in19'
  common.adapt(config, setting)
  return config, setting


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, _ = start(arg)
  return common.finish(config, arg)
