"""ASS without labelled target images: GA, the source aligned with the target.

  python -m jaxuda.main --config=configs/ass_global.py:streets

About 20 hours on one V100 (reckoned: benchmarks/hours.py).

Paper 004, Eqs. 1 to 3: AdaptSegNet's game the other way round. The row n = 0 of
its tables, GTA5 -> Cityscapes 42.4 mIoU and SYNTHIA -> Cityscapes 46.7 on 13
classes, is what AdaptSegNet published for its two levels.
"""

from configs import common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = start(arg, 'adaptsegnet')
  config.gan, config.direction = 'vanilla', 'source_to_target'
  common.adapt(config, setting)
  return common.finish(config, arg)


def start(arg, method):
  """What paper 004's experiments share: (config, setting)."""
  config, setting = common.start(arg, method)
  # "SGD with Nesterov"; a parameter is listed once, as there is no code.
  config.optim.update(nesterov=True, repeats='dedupe')
  # Unstated: steps, batch and sizes, which are AdaptSegNet's ("built following"
  # it), as are two of four branches, in which the author's later code follows
  # it; and the weights. One head, as one lambda is given for D_g: AdaptSegNet's
  # 0.001. Eqs. 2 and 3 are sums over pixels, here means, as in its code.
  config.model.update(multi_level=False, live_branches=2)
  config.weights.update(adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0)
  return config, setting
