"""BDL's later stages, M1 and M2: the game with pseudo labels (CVPR 2019).

  python -m jaxuda.main --config=configs/bdl_ssl.py:streets

About 20 hours on one V100 (reckoned: benchmarks/hours.py).

Li et al., "Bidirectional Learning for Domain Adaptation of Semantic
Segmentation"; SSL.py, BDL.py. M1 starts from the weights that M0 started from
and has in addition the cross entropy on those of M0's predictions that are
surer than the median of their class, or than 0.9. GTA5 -> Cityscapes 47.2 mIoU
for M1, 48.5 for M2 (issues 18 and 30 of its repository); SYNTHIA 51.4 on 13
classes (paper 000, Table 1).

`target.labels` names the stage before, which is trained where it is not there,
from the same `init` and `source.name`. So M2, with all stages before it, is

  --config=configs/bdl_ssl.py:streets,target.labels=configs/bdl_ssl.py:streets

and from a file of weights, or on translated images (configs/bdl.py), which the
stage that is named has to know, too,

  --config="configs/bdl_ssl.py:gta5,init=FILE,target.labels=(configs/bdl_ssl.py:gta5,init=FILE)"
  --config="configs/bdl_ssl.py:gta5,source.name=gta5/translated,target.labels=(configs/bdl_ssl.py:gta5,source.name=gta5/translated)"
"""

from configs import _chains, bdl, common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = bdl.start(arg)
  if setting in ('gta5', 'synthia'):
    config.steps = 120_000
  before = f'configs/bdl.py:{setting}'
  before += _chains.handed_on(arg, 'init', 'source.name')
  _chains.label(config, 'target', before, 'median', arg)
  return common.finish(config, arg)
