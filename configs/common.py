"""What the experiments share: presets of datasets, and how a file begins."""

import functools

from ml_collections import ConfigDict

from jaxuda import config as config_lib
from jaxuda import methods
from jaxuda.models import decoders, encoders
from jaxuda.utils import names

# Presets whose source is rendered here.
RENDERED = ('streets', 'camvid', 'mine')
STEPS = 600  # of these presets
CITIES = ('rome', 'rio', 'tokyo', 'taipei')  # Cross-City's


def start(
  arg: str | None,
  name: str,
  method: str | None = None,
  encoder: str = 'resnet',
  **declared,
) -> tuple[ConfigDict, ConfigDict]:
  """Return the default config of an experiment, and its argument.

  Args:
    arg: what stands behind the colon of the config file.
    name: of the file.
    method: the file's method; None for that of its name.
    encoder: the default one; where the source is rendered, EfficientNet-Lite
      is.
    declared: the words of the argument beyond `preset` and `encoder`, see
      config.parse_arg.
  """
  found = names.modules(encoders)
  parse = functools.partial(config_lib.parse_arg, arg, preset=tuple(PRESETS))
  if parse(encoder=found, **declared).preset in RENDERED:
    encoder = 'efficientnet_lite'
  found.sort(key=lambda each: each != encoder)  # the default first
  declared = {'encoder': found, **declared}
  words = parse(**declared)
  plain = config_lib.parse_arg('', **declared)
  config = config_lib.experiment()
  config.method = method or name
  changed = [f'{w}={words[w]}' for w in declared if words[w] != plain[w]]
  config.name = '-'.join([name, words.preset, *changed])
  config_lib.add(config, methods.load(config.method).settings)
  set_network(config, words.encoder)
  PRESETS[words.preset](config)
  if 'target' in methods.load(config.method).streams:
    # Of pseudo labels, where it has any: they count as the source's (BDL).
    set_weights(config, seg_target_main=1.0, seg_target_aux=0.1)
  return config, words


def set_network(config: ConfigDict, encoder: str) -> None:
  """Give a config an encoder and its usual decoder, with their defaults."""
  own = encoders.load(encoder)
  config.model.input_norm = own.INPUT_NORM
  for part, package, name in (
    ('encoder', encoders, encoder),
    ('decoder', decoders, own.DECODER),
  ):
    config.model[part] = {'name': name}
    config_lib.add(config.model[part], package.load(name).SETTINGS)
  if len(own.channels(config.model.encoder)) < 2:
    config.model.decoder.multi_level = False


def set_decoder(config: ConfigDict, **settings) -> None:
  """Set those of some settings that the config's decoder has."""
  own = config.model.decoder
  own.update({key: value for key, value in settings.items() if key in own})


def set_weights(config: ConfigDict, **weights: float) -> None:
  """Weigh terms, each of which is a loss of the config's method."""
  config.loss_weights.update(weights)


def gta5(config: ConfigDict) -> None:
  """GTA5 -> Cityscapes, 19 classes."""
  config.source.update(name='gta5', size=(720, 1280))
  config.target.update(name='cityscapes', size=(512, 1024))
  config.eval.update(name='cityscapes', size=(512, 1024))
  set_weights(config, seg_source_main=1.0, seg_source_aux=0.1)


def synthia(config: ConfigDict) -> None:
  """SYNTHIA -> Cityscapes, 16 classes, also scored on 13 of them."""
  gta5(config)
  config.classes = 'synthia16'
  config.source.update(name='synthia', size=(760, 1280))


def bdd100k(config: ConfigDict) -> None:
  """GTA5 -> BDD100K, 19 classes."""
  gta5(config)
  config.target.update(name='bdd100k', size=(720, 1280))
  config.eval.update(name='bdd100k', size=(720, 1280))


def _crosscity(city):
  """Return the preset of a city."""

  def preset(config: ConfigDict) -> None:
    gta5(config)
    size = (512, 1024)
    config.source.update(name='cityscapes', size=size)
    config.target.update(name=f'crosscity/{city}', size=size)
    config.eval.update(
      name=f'crosscity/{city}',
      split='test',
      size=(1024, 2048),  # as FADA tests
      classes='crosscity13',
    )

  preset.__doc__ = f"""Cityscapes -> {city.title()}, scored on 13 classes."""
  return preset


def streets(config: ConfigDict) -> None:
  """streets/game -> streets/city: rendered, no download, made for a laptop."""
  gta5(config)
  stream = {'size': (96, 192), 'batch_size': 4, 'flip': True}
  config.source.update(name='streets/game', **stream)
  config.target.update(name='streets/city', **stream)
  config.eval.update(name='streets/city', size=(96, 192), batch_size=8)
  config.model.decoder.multi_level = False
  config.train_bn_affine = True
  config.optim.update(name='adamw', decay_steps=None, duplicate_params=False)
  if config.model.encoder.name == 'efficientnet_lite':
    _start_from_imagenet(config)
  else:
    _train_from_scratch(config)
  config.steps = STEPS
  config.update(log_every=10, eval_every=300, checkpoint_every=200)


def _start_from_imagenet(config):
  """EfficientNet-Lite0, whose weights a package brings, and a light decoder."""
  config.init = 'imagenet'
  config.model.align_corners = False
  config.optim.update(
    lr=1e-3,  # the best on tune of 5e-4, 1e-3 and 2e-3, with DACS
    head_factor=4.0,
    beta2=0.999,
    weight_decay=0.01,
    power=1.0,
  )


def _train_from_scratch(config):
  """Set a network of the originals' with 1.0 M parameters and one head.

  The dilations suit maps of 13x25 in place of 65x129. In 400 steps on the
  target's own labels SGD at its best rate reached 17 mIoU and AdamW 36.
  """
  model = config.model
  if 'width' in model.encoder:
    model.encoder.width = 16
  if model.encoder.name == 'resnet':
    model.encoder.update(blocks=(1, 1, 2, 2), kernel_init='he')
  if model.decoder.name == 'deeplab_v2':
    model.decoder.update(dilations=(3, 6), aspp_branches=2)
  config.optim.update(lr=2e-3, head_factor=1.0)


def camvid(config: ConfigDict) -> None:
  """streets/game -> CamVid: real photographs, 11 classes."""
  streets(config)
  config.target.update(name='camvid', size=(96, 128))
  config.eval.update(name='camvid', size=(96, 128), classes='camvid11')


def mine(config: ConfigDict) -> None:
  """streets/game -> a folder of your own photographs, which have no labels."""
  streets(config)
  config.target.update(name='', size=None)
  config.eval.update(name=None, size=None)


PRESETS = {
  'gta5': gta5,
  'synthia': synthia,
  'bdd100k': bdd100k,
  **{city: _crosscity(city) for city in CITIES},
  'streets': streets,
  'camvid': camvid,
  'mine': mine,
}
