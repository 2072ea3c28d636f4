"""BDL's first stage, M0: adversarial alignment of segmentations (CVPR 2019).

  python -m jaxuda.main --config=configs/bdl.py:streets

About 14 hours on one V100 (estimated by benchmarks/perf/hours.py).

Li et al., "Bidirectional Learning for Domain Adaptation of Semantic
Segmentation"; BDL.py. The loss is AdaptSegNet's on one head with four branches.
GTA5 -> Cityscapes 44.3 mIoU (issues 18 and 30 of its repository), on source
images in the target's style: a folder `translated/` in the raw one, with the
names of the originals, is prepared by

  python -m data.prepare gta5/translated --raw=DIR --size=720x1280

and named by `--config.source.name=gta5/translated`. Its start is
`--config.init=resnet101_caffe_bdl`. Its VGG-16 (41.3) is an FCN-8s, which is
not here. configs/bdl_ssl.py goes on from here.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'bdl', 'adaptsegnet')
  set_bdl(config, arg.preset)
  return config


def set_bdl(config, preset) -> None:
  """Set what all stages share."""
  # The stop is looked for after 80,000, when a line is printed: the code goes
  # on to 80,100, but its snapshot is of 80,000.
  config.steps = 80_000
  config.model.decoder.multi_level = False
  common.set_weights(
    config, adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0
  )
  config.eval.upsample = 'probabilities'
  if preset == 'synthia':
    # A head of 19 classes, of which 16 and 13 are scored (evaluation.py).
    config.classes = 'synthia16in19'
  _stages.adapt(config, preset)
