"""The oracle: trained on the target's own labels, an upper bound.

  python -m jaxuda.main --config=configs/oracle.py:streets

About 9 hours on one V100 (reckoned: benchmarks/hours.py).

Source-only training whose source is the target's labelled training set.
AdaptSegNet reports 65.1 mIoU on Cityscapes with one head of two branches, which
it is here, too; paper 004, with SGD as in configs/ass.py, 65.9.
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default; Cityscapes' labels), synthia, streets."""
  config, _ = common.start(arg, 'source_only')
  config.source.update(config.target)
  config.model.update(multi_level=False, live_branches=2)
  return common.finish(config, arg)
