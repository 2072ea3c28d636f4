"""FDA: the source in the target's low frequencies (CVPR 2020).

  python -m jaxuda.main --config=configs/fda.py:streets

About 12 hours on one V100 (estimated by benchmarks/perf/hours.py).

Yang and Soatto, "FDA: Fourier Domain Adaptation for Semantic Segmentation";
train.py. GTA5 -> Cityscapes 45.0 mIoU for one network (second-hand), 50.45 for
the mean of three (README of its repository), after two rounds of self-training
(second-hand). VGG-16, `encoder=vgg16`, 42.2 (second-hand). It starts from
ImageNet weights by `--config.init=resnet101_caffe_bdl`.

`round=2` and `round=3` train again, also on the target's labels by the round
before: those whose confidence reaches the one at 0.66 of their class, or 0.9.
There the paper takes the mean of three networks, of
`--config.fourier.beta=0.01`, 0.05 and 0.09, here it is one; three runs are
scored as one by

  python -m jaxuda.evaluate --workdir=RUN,RUN,RUN

The code takes the entropy of the network's small map, here it is that of the
enlarged logits; and it is tested at 576x1344, here at 512x1024.
"""

from configs import _stages, common
from jaxuda import config as config_lib


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'fda', round=1)
  config.model.decoder.multi_level = False
  # On tune of streets beta=0.01, a mean colour alone at its size, had 29.3
  # mIoU, 0.05 had 24.5; AdaBN 30.5.
  config.eval.upsample = 'probabilities'
  common.set_weights(config, ent_main=0.005)
  if arg.preset not in common.RENDERED:
    config.steps = 100_000
    config.optim.decay_steps = 150_000
    config.source.crop = config.target.size
  config_lib.crop_alike(config)
  _stages.adapt(config, arg.preset)
  if arg.round > 1:
    words = f'{arg.preset},encoder={arg.encoder},round={arg.round - 1}'
    before = get_config(words)
    _stages.label_by(config, 'target', before, 'median')
    config.pseudo.portion = 0.66
    config_lib.share_value(config, before, 'init')
  return config
