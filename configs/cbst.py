"""Class-balanced and confidence-regularised self-training, one round.

  python -m jaxuda.main --config=configs/cbst.py:streets

About 1 hour on one V100 (reckoned: benchmarks/hours.py).

Zou et al., CBST (ECCV 2018) and CRST (ICCV 2019); crst_seg.py. GTA5 ->
Cityscapes 45.9 mIoU (CBST), 47.1 with `weights.kld_main=0.01` (MRKLD); 46.5 with
`pseudo.soft=0.25` (LRENT, several scales; README of its repository), where CBST
has 46.5 and MRKLD 47.4. SYNTHIA 42.6 / 48.9 and 43.8 / 50.1 on 16 / 13 classes.

A round starts from a run, `init`, and from its pseudo labels, `target.labels`:
first the source stage, which is trained where it is not there, or the run that
`init` names (with weights of a file train that first, configs/source_only.py).
There are three rounds, and `pseudo.portion` grows by 0.05. The second, with all
before it:

  --config=configs/cbst.py:streets,init=configs/cbst.py:streets,pseudo.portion=0.25

Left out are the mining of rare classes, which centres target crops on them, and
the growing share of source images, of which here each step has one. The target
is the whole training set, where the code's own list has 505 of its 2,975 images;
and SYNTHIA's lane markings (id 22), road there, are ignored as everywhere else.
With VGG-16 CBST reports 36.1, and 35.4 on SYNTHIA's 16 classes (paper 003,
Tables 3 and 2).
"""

from configs import _chains, common

# The source stage (train.py), from torchvision's ResNet-101.
SOURCE = (
  'steps=100_000,optim.horizon=None,model.multi_level=False,'
  'model.pixels=torchvision,model.norm=fixed,source.batch_size=4,'
  'source.scale=(0.5,1.5),source.crop=(500,500),source.flip=True'
)


def get_config(arg=None):
  """Settings: gta5 (default), synthia, streets, camvid."""
  config, setting = common.start(arg, 'cbst')
  config.model.multi_level = False
  # The square of the code's --mr-weight-kld, 0.1 for MRKLD: it multiplies the
  # term as a weight and once more as the weight of target images.
  config.weights.kld_main = 0.0
  config.seg_mean = 'all'
  if setting in ('gta5', 'synthia'):
    # Twice through the target, an image a step, at a constant rate.
    config.steps = 5_950
    config.optim.update(lr=5e-5, power=0.0)
    # torchvision's weights in a network of the other style.
    config.model.update(pixels='torchvision', norm='fixed')
    config.init = f'configs/source_only.py:{setting},{SOURCE}'
    if setting == 'gta5':  # which is to be resized beforehand (README.md)
      config.source.size = (1052, 1914)
      config.init += ',source.size=(1052,1914)'
    crop = {'flip': True, 'scale': (0.5, 1.5), 'crop': (512, 1024)}
    config.source.update(crop)
    config.target.update(size=(1024, 2048), **crop)
    config.eval.update(
      size=(1024, 2048),
      batch_size=1,
      scales=(0.9, 1.0, 1.2),
      flip=True,
      average='logits',
      absent='zero',
    )
  common.adapt(config, setting)
  start = _chains.own_init(arg) or config.init
  _chains.label(config, 'target', start, 'balanced', arg)
  config.pseudo.input = config.target.size
  return common.finish(config, arg)
