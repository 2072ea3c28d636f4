"""The AdaBN control: source-only that also forwards target images.

  python -m jaxuda.main --config=configs/adabn.py:streets

About 19 hours on one V100 (estimated by benchmarks/perf/hours.py).

No term asks anything of the target, but its statistics enter the running batch
norm, as they do in every adversarial method. The gain of a method is its gain
over this control, which starts where the method does, as ADVENT by
`--config.init=resnet101_caffe`.
"""

from configs import _stages, common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'adabn')
  _stages.adapt(config, arg.preset)
  return config
