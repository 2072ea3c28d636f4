"""The AdaBN control: source-only that also forwards target images.

  python -m jaxuda.main --config=configs/adabn.py:streets

About 19 hours on one V100 (reckoned: benchmarks/hours.py).

No term asks anything of the target, but its statistics enter the running batch
norm, as they do in every adversarial method. The gain of a method is its gain
over this control.
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'adabn')
  common.adapt(config, setting)
  return common.finish(config, arg)
