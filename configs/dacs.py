"""DACS: mixed sampling across domains (WACV 2021).

python -m jaxuda.main --config=configs/dacs.py:streets
"""

from configs import common


def get_config(arg=None):
  """Presets: gta5 (default), synthia, streets, camvid."""
  config, arg = common.start(arg, 'dacs')
  common.set_weights(config, seg_mixed_main=1.0)
  config.teacher.decay = 0.99
  config.ce_reduction = 'pixels'
  return config
