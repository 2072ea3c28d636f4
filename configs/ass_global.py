"""ASS without labelled target images: GA, the source aligned with the target.

  python -m jaxuda.main --config=configs/ass_global.py:streets

About 20 hours on one V100 (estimated by benchmarks/perf/hours.py).

ASS (CVPRW 2020), Eqs. 1 to 3: AdaptSegNet's adversarial loss the other way
round. The row n = 0 of its tables, GTA5 -> Cityscapes 42.4 mIoU and SYNTHIA ->
Cityscapes 46.7 on 13 classes, is what AdaptSegNet published for its two levels.
Its start, too, is AdaptSegNet's here: `--config.init=resnet101_caffe_coco`.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'ass_global', 'adaptsegnet')
  set_unstated(config)
  config.direction = 'source_to_target'
  _stages.adapt(config, arg.preset)
  return config


def set_unstated(config) -> None:
  """Set what ASS' experiments share."""
  # "SGD with Nesterov"; a parameter is listed once, as there is no code.
  config.optim.update(nesterov=True, duplicate_params=False)
  # Unstated: steps, batch and sizes, which are AdaptSegNet's ("built following"
  # it), as are two of four branches, in which the author's later code follows
  # it; and the weights. One head, as one lambda is given for D_g: AdaptSegNet's
  # 0.001. Eqs. 2 and 3 are sums over pixels, here means, as in its code.
  common.set_decoder(config, multi_level=False, aspp_branches=2)
  common.set_weights(
    config, adv_main=0.001, adv_aux=0.0002, d_main=1.0, d_aux=1.0
  )
