"""daformer

python -m jaxuda.main --config=configs/daformer.py:streets
"""

from configs import common


def get_config(arg=None):
  """Presets: gta5 (default), synthia, streets, camvid."""
  config, arg = common.start(arg, 'daformer')
  common.set_weights(config, seg_mixed_main=1.0, seg_masked_main=1.0)
  common.set_weights(config, feature_distance=0.005)
  config.ce_reduction = 'pixels'
  return config
