"""Source-only: the lower bound that every method starts from.

  python -m jaxuda.main --config=configs/source_only.py:streets

About 16 hours on one V100 (estimated by benchmarks/perf/hours.py).

Cross entropy on the labelled source (ACCV 2020, Eq. 1); the target is never
seen. GTA5 -> Cityscapes 37.8 mIoU in ACCV 2020 (Table 4), 36.6 in AdaptSegNet;
SYNTHIA -> Cityscapes 32.0 / 36.9 on 16 / 13 classes (Table 3). It starts where
what is compared with it does, as ADVENT by `--config.init=resnet101_caffe`.
"""

from configs import common


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'source_only')
  if arg.preset not in common.RENDERED:
    config.bn_mode = 'running'  # as the ACCV 2020 paper's own baseline
  return config
