"""What the experiments share: the settings of datasets, and their defaults.

Numbers without a comment are those of the published code of AdaptSegNet and
ADVENT, on which all four papers build.
"""

import ml_collections
from ml_collections import ConfigDict

from configs import _chains
from jaxuda.config import loading as config_lib


def dataset(name: str, split: str, size, batch_size: int, **more) -> ConfigDict:
  """A stream of training examples."""
  return ConfigDict(
    {
      'name': name,
      'split': split,
      'size': size,  # (height, width); images are resized at preparation
      'batch_size': batch_size,  # of all devices and hosts together
      'flip': False,
      'jitter': (0.0, 0.0, 0.0, 0.0),  # brightness, contrast, saturation, hue
      'scale': (1.0, 1.0),  # range of the random scale before the crop
      'crop': (0, 0),  # (height, width); (0, 0) leaves the image whole
      'shuffle': True,  # False: the files' order, epoch after epoch
      # 'uniform': every image once an epoch; or 'class_balanced': rare classes
      # are drawn more often, by the labels (FADA; input/sampling.py). That
      # leaves out images without any class, and repeats those of rare ones.
      'sampling': 'uniform',
      # None for all of its images; n for those that come first in a random
      # order that is the same for every n and every seed of a run (paper 004).
      'count': None,
      # None for its own labels, of which the target has none; else pseudo
      # labels: a folder that jaxuda.pseudo_label has written; or a run, named
      # as in `init`, that makes them first as `pseudo` says.
      'labels': None,
      **more,
    }
  )


def gta5() -> ConfigDict:
  """GTA5 -> Cityscapes, 19 classes."""
  return ConfigDict(
    {
      'method': '',
      'seed': 0,
      'steps': 150_000,
      # In how many parts, one after the other, a step goes through its batch:
      # the memory of a part and the gradient of the whole, but for batch norm,
      # whose statistics are a part's.
      'iter_size': 1,
      'classes': 'cityscapes19',
      # Where training starts: None for random weights; a run, by its workdir or
      # by a config page that is trained first where its run is not there yet;
      # or a PyTorch file (jaxuda/weights.py). The originals start from weights
      # trained on ImageNet, AdaptSegNet and CLAN on COCO besides.
      'init': None,
      # A regex of the keys that may be left over in such a file, and one of what
      # may keep its random values here, named as in ADVENT's checkpoints:
      # init_fresh=layer[56].* for heads of other classes.
      'init_unused': None,
      'init_fresh': None,
      'data_dir': None,  # where prepared datasets are; None for TFDS's default
      'source': dataset('gta5', 'train', (720, 1280), 1),
      'target': dataset('cityscapes', 'train', (512, 1024), 1),
      'eval': {
        'name': 'cityscapes',
        'split': 'val',
        'size': (512, 1024),
        'classes': None,  # the class space that is scored; None for `classes`
        'batch_size': 4,
        'scales': (1.0,),
        'flip': False,
        'average': 'probabilities',  # over scales and flips; or 'logits'
        'upsample': 'logits',  # to the label's size; 'probabilities' in BDL
        'absent': 'left_out',  # of means: classes not there; 'zero' in FADA
      },
      'model': {
        'backbone': 'resnet',
        'blocks': (3, 4, 23, 3),  # bottlenecks a layer: ResNet-101
        'width': 64,
        # Where strides and dilations sit and how pooling rounds: caffe, or
        # torchvision (FADA's); models/resnet.py.
        'style': 'caffe',
        # What a pretrained file expects: caffe, caffe_vgg or torchvision;
        # models/deeplab.py, PIXELS.
        'pixels': 'caffe',
        'dilations': (6, 12, 18, 24),
        'live_branches': 4,  # of `dilations`; 2 in AdaptSegNet's code
        'multi_level': True,
        'twin': False,  # both heads on layer4, the prediction their sum: CLAN
        # batch, running, running_updated, fixed or frozen: models/norm.py.
        'norm': 'batch',
        'affine': 'frozen',  # or 'trained': batch norm's scale and bias
        'kernel_init': 'caffe',
        'align_corners': True,  # of the logits' upsampling; False since 2021
        'temperature': 1.0,  # divides the logits in training; 1.8 in FADA
        'dtype': 'float32',  # or bfloat16; parameters and losses stay float32
        'remat': False,  # recompute activations: less memory, more time
      },
      'discriminator': {
        'width': 64,
        'outputs': 1,
        'lr': 1e-4,
        # None for random weights; a run or a PyTorch file that holds all, or
        # NAME=FILE,NAME=FILE: main=model_D_main.pth,aux=model_D_aux.pth
        'init': None,
      },
      'optim': {
        'name': 'sgd',  # or 'adamw'
        # 'authors': a ResNet's block convolutions are updated three times a
        # step and shortcuts four times, as the originals list them so often;
        # the backbone moves about three times as far as with 'dedupe'.
        'repeats': 'authors',
        'lr': 2.5e-4,
        'head_factor': 10.0,  # 1.0 in AdaptSegNet's VGG-16
        'momentum': 0.9,
        'nesterov': False,
        'warmup': 0,  # steps in which the rate rises from 0; 5,000 in CLAN
        'weight_decay': 5e-4,
        'power': 0.9,
        # The poly schedule ends here, beyond the last step; None for `steps`.
        'horizon': 250_000,
      },
      # What the running batch-norm statistics follow: 'both' domains, source
      # then target, as in the originals, or the 'target' alone.
      'statistics': 'both',
      # Over which valid pixels a cross entropy is a mean: those of its domain's
      # 'batch', of each 'image', or of 'all' domains together (CRST).
      'seg_mean': 'batch',
      'seg_focus': 0.0,  # of the focal loss; 2.0 in CLAN
      'weights': {'seg_main': 1.0, 'seg_aux': 0.1},
      'max_skipped': 20,  # steps in a row without finite gradients, then stop
      'log_every': 50,
      'eval_every': 5_000,
      'checkpoint_every': 1_000,
      'panels': 4,  # images shown in figures and TensorBoard
    }
  )


def synthia() -> ConfigDict:
  """SYNTHIA -> Cityscapes, 16 classes, also scored on 13 of them."""
  config = gta5()
  config.classes = 'synthia16'
  config.source = dataset('synthia', 'train', (760, 1280), 1)
  return config


def streets() -> ConfigDict:
  """streets/game -> streets/city: rendered, no download, made for a laptop."""
  config = gta5()
  size = (96, 192)
  config.source = dataset('streets/game', 'train', size, 4, flip=True)
  config.target = dataset('streets/city', 'train', size, 4, flip=True)
  config.eval.update(name='streets/city', size=size, batch_size=8)
  # deeplabv2_small: the same network with 1.0 M parameters and one head,
  # trained from scratch; the dilations suit maps of 13x25 in place of 65x129. In
  # 400 steps on the target's own labels SGD at its best rate reached 17 mIoU
  # and AdamW 36.
  config.model.update(
    blocks=(1, 1, 2, 2),
    width=16,
    dilations=(3, 6),
    multi_level=False,
    kernel_init='he',
    affine='trained',
  )
  config.optim.update(
    name='adamw', lr=2e-3, head_factor=1.0, horizon=None, repeats='dedupe'
  )
  config.steps = 600
  config.update(log_every=10, eval_every=400, checkpoint_every=200)
  return config


def camvid() -> ConfigDict:
  """streets/game -> CamVid: real photographs, 11 classes."""
  config = streets()
  config.target = dataset('camvid', 'train', (96, 128), 4, flip=True)
  config.eval.update(name='camvid', size=(96, 128), classes='camvid11')
  return config


SETTINGS = {
  'gta5': gta5,
  'synthia': synthia,
  'streets': streets,
  'camvid': camvid,
}


def adapt(config: ConfigDict, setting: str) -> None:
  """What every adaptation of the rendered source shares.

  Chosen on the `tune` split with seed 100, never on `val`: 400 steps are few
  beside the papers' 120,000 and more, so that the adversarial weight and the
  discriminator's rate are larger than theirs.
  """
  if setting not in ('streets', 'camvid'):
    return
  # From a source-trained network, as the papers start from pretrained ones.
  config.init = 'configs/source_only.py:streets'
  config.steps = 400
  # Each domain is normalised by its own statistics while it trains, so that
  # the target is evaluated as it was aligned.
  config.model.norm = 'batch'
  config.statistics = 'target'
  config.discriminator.update(width=32, lr=2e-3)
  for name in config.weights:
    if name.startswith('adv_'):
      config.weights[name] *= 10
  if 'patch' in config:
    # A third of the image's height, as 256 is of 720; several an image make
    # up for the short schedule.
    config.patch.update(size=32, count=8)


def start(arg: str | None, method: str):
  """The setting that `arg` names, for one method: (config, setting)."""
  config, setting = config_lib.build(arg or '', SETTINGS)
  config.method = method
  return config, setting


def finish(config: ConfigDict, arg: str | None) -> ml_collections.ConfigDict:
  """Applies the overrides of `arg` and locks the config.

  The pages of the stages before it get those that say what the network is.
  """
  arg = arg or ''
  if config.target.labels or config_lib.given(arg, 'target.labels'):
    # Pseudo labels of the target count as much as the source's (BDL).
    for head in ('main', 'aux'):
      config.weights[f'seg_target_{head}'] = config.weights[f'seg_{head}']
  _chains.pass_on(config, arg)
  return config_lib.finish(config, arg)
