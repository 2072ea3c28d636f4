"""Source-only: the lower bound that every method starts from.

  python -m jaxuda.main --config=configs/source_only.py:streets

About 16 hours on one V100 (reckoned: benchmarks/hours.py).

Cross entropy on the labelled source (paper 001, Eq. 1); the target is never
seen. GTA5 -> Cityscapes 37.8 mIoU in paper 001 (Table 4), 36.6 in AdaptSegNet;
SYNTHIA -> Cityscapes 32.0 / 36.9 on 16 / 13 classes (Table 3).
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'source_only')
  if setting in ('gta5', 'synthia'):
    config.model.norm = 'running'  # as paper 001's own baseline
  return common.finish(config, arg)
