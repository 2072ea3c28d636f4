"""FADA: fine-grained adversarial alignment of features (ECCV 2020).

  python -m jaxuda.main --config=configs/fada.py:streets

About 28 hours on one V100 (estimated by benchmarks/perf/hours.py).

The adversarial stage (Eqs. 2, 5 and 6, class knowledge by Eqs. 7 and 8;
train_adv.py, configs/deeplabv2_r101_adv.yaml): GTA5 -> Cityscapes 46.9 mIoU,
SYNTHIA -> Cityscapes 41.5 on 16 classes (Table 5); 49.2 and 45.2 after
self-distillation (Tables 4 and 2). `--config.encoding=hard`: 45.7 (Table 5);
the baseline of Eqs. 1 to 4 is configs/adaptsegnet_features.py. `init_stage` is
its source stage, which is trained where it is not there, from ImageNet weights
by `--config.init_stage.init=resnet101_torchvision`. Published with
self-distillation alone: VGG-16, 43.8; 39.5 / 46.0 on 16 / 13 classes,

  --config=configs/fada_distill.py:gta5,encoder=vgg16

and testing at several scales, 50.1 from 49.2:

  python -m jaxuda.evaluate --workdir=RUN --scales=0.7,1.0,1.3 --flip
"""

from configs import _stages, common, fada_source


def get_config(arg=None):
  """Presets: those of common.py, gta5 (default), streets and others."""
  config, arg = common.start(arg, 'fada')
  config.steps = 40_000
  config.optim.duplicate_params = False
  config.model.decoder.multi_level = False
  config.temperature = 1.8
  config.discriminator.width = 256
  config.eval.missing_class_iou = 'zero'
  common.set_weights(config, adv_main=0.001, d_main=1.0)
  if arg.preset not in common.RENDERED:
    config.optim.decay_steps = 62_500
    fada_source.set_network(config)
    config.bn_mode = 'frozen'
    # Four processes of one image a domain, each with its own mean.
    config.ce_reduction = 'image'
    config.target.batch_size = 4
    # There the jitter comes before the resize.
    config.source.update(
      batch_size=4, jitter=(0.5, 0.5, 0.5, 0.2), sampling='class_balanced'
    )
    words = f'{arg.preset},encoder={arg.encoder}'
    _stages.start_from(config, fada_source.get_config(words))
  _stages.adapt(config, arg.preset)
  return config
