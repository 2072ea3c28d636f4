"""FADA's third stage: self-distillation (ECCV 2020).

  python -m jaxuda.main --config=configs/fada_distill.py:streets

About 9 hours on one V100 (reckoned: benchmarks/hours.py).

Paper 003; train_self_distill.py. A fresh network is trained on the target
images alone, with all predictions of the second stage as labels: what is known
passes through them and no weight. GTA5 -> Cityscapes 49.2 mIoU, from 46.9;
SYNTHIA -> Cityscapes 45.2 / 52.5 on 16 / 13 classes (Tables 2 to 4); VGG-16 43.8;
39.5 / 46.0, `model.backbone=vgg16,model.pixels=caffe_vgg`.

`source.labels` names the second stage, which is trained where it is not there.
`init` is torchvision's ResNet-101, in all three stages: where it is given, the
second stage gets it for its first. Training and scoring take Cityscapes at
--size=1024x2048 (`python -m data.prepare`), the stages before at 512x1024.
"""

from configs import _chains, common


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'source_only')
  # No source image is read: the target is the one labelled stream.
  config.source.update(config.target)
  config.optim.update(repeats='dedupe')
  config.model.multi_level = False
  config.eval.absent = 'zero'
  config.weights = {'seg_main': 1.0}
  if setting in ('gta5', 'synthia'):
    config.steps = 20_000
    config.optim.update(lr=5e-4, horizon=31_250)
    # For SYNTHIA the authors froze batch norm (issue 8 of their repository).
    config.model.update(style='torchvision', pixels='torchvision')
    if setting == 'gta5':
      config.model.affine = 'trained'
    else:
      config.model.norm = 'frozen'
    config.source.update(
      size=(1024, 2048),
      batch_size=8,
      flip=True,
      jitter=(0.5, 0.5, 0.5, 0.2),
      scale=(0.5, 1.5),
      crop=(512, 1024),
    )
    config.eval.size = (1024, 2048)
  before = f'configs/fada.py:{setting}'
  if init := _chains.own_init(arg):
    first = f'configs/fada_source.py:{setting},init=({init})'
    before += f',init=({first}{_chains.network(arg)})'
  _chains.label(config, 'source', before, 'argmax', arg)
  # The second stage sees the images at its own size (test.py).
  config.pseudo.input = config.target.size
  return common.finish(config, arg)
