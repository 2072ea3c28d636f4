"""CyCADA's last stage: adversarial alignment of pixels' scores (ICML 2018).

  python -m jaxuda.main --config=configs/cycada.py:streets

About 11 hours on one V100 (estimated by benchmarks/perf/hours.py).

Hoffman et al., "CyCADA: Cycle-Consistent Adversarial Domain Adaptation";
scripts/train_fcn_adda.py. Its first stage is a dataset, the source's images in
the target's style (docs/translated_sources.md); the second is source-only
training on them, `init_stage`, which is trained where it is not there, from
ImageNet weights by `--config.init_stage.init=resnet101_caffe`; the last goes on
from that. From GTA5 the source is `gta5/translated`, unless `translated=no`; of
other sources none is known, and `--config.source.name` names yours. 39.5 mIoU
with DRN-26, from 21.7; 35.4 with VGG-16's FCN-8s (ACCV 2020, Table 2; FADA,
Table 3), neither of which is here: on DeepLab these are not its numbers.

The segmenter's optimizer is the code's; the discriminator's, there the same
SGD, is Adam as everywhere here. `--config.sees=features` shows it features in
place of scores.
"""

from configs import _stages, common, source_only


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'cycada', translated=('yes', 'no'))
  config.model.decoder.multi_level = False
  config.discriminator.width = 512
  # On tune of streets 0.1 and 0.01 had the same 33.9 mIoU.
  common.set_weights(config, adv_main=0.1, d_main=1.0)
  if arg.preset not in common.RENDERED:
    config.steps = 100_000
    config.optim.update(
      lr=1e-5,
      head_factor=1.0,
      momentum=0.99,
      power=0.0,
      decay_steps=None,
      duplicate_params=False,
    )
    crop = {'crop': (512, 768), 'flip': True}
    config.source.update(**crop)
    config.target.update(**crop)
  if config.source.name == 'gta5' and arg.translated == 'yes':
    config.source.name = 'gta5/translated'
  _stages.adapt(config, arg.preset)
  before = source_only.get_config(f'{arg.preset},encoder={arg.encoder}')
  _stages.start_from(config, before)
  before.source = config.source  # whichever is named
  if arg.preset in common.RENDERED:
    config.steps = common.STEPS // 2
  return config
