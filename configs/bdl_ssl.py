"""BDL's later stages, M1 and M2: the same loss with pseudo labels (CVPR 2019).

  python -m jaxuda.main --config=configs/bdl_ssl.py:streets

About 20 hours on one V100 (estimated by benchmarks/perf/hours.py).

Li et al., "Bidirectional Learning for Domain Adaptation of Semantic
Segmentation"; SSL.py, BDL.py. M1 starts from the weights that M0 started from
and has in addition the cross entropy on those of M0's predictions that are
surer than the median of their class, or than 0.9; M2, `round=2`, has M1's.
GTA5 -> Cityscapes 47.2 mIoU for M1, 48.5 for M2 (issues 18 and 30 of its
repository); SYNTHIA 51.4 on 13 classes (ICIP 2020, Table 1).

`target.labels_stage` is the stage before, which is trained where it is not
there; it has this one's `init` and source, so that

  --config=configs/bdl_ssl.py:gta5,round=2 --config.init=resnet101_caffe_bdl
  --config.source.name=gta5/translated

trains all three stages from its file on translated images (configs/bdl.py).
"""

from configs import _stages, bdl, common
from jaxuda import config as config_lib


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'bdl_ssl', 'adaptsegnet', round=1)
  bdl.set_bdl(config, arg.preset)
  if arg.preset not in common.RENDERED:
    config.steps = 120_000
  words = f'{arg.preset},encoder={arg.encoder}'
  if arg.round > 1:
    before = get_config(f'{words},round={arg.round - 1}')
  else:
    before = bdl.get_config(words)
  _stages.label_by(config, 'target', before, 'median')
  share_source(config)
  return config


def share_source(config) -> None:
  """Let the stages that make labels have this one's source and start."""
  before = config.target.labels_stage
  if before is not None:
    before.source = config.source
    config_lib.share_value(config, before, 'init')
    share_source(before)
