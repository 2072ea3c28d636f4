"""A method, an encoder and a dataset are a file each: nothing else is told."""

import functools

import jax
import numpy as np
import pytest
import tiny
from PIL import Image

import data
from data import prepare
from jaxuda import config as config_lib
from jaxuda import experiment, methods
from jaxuda.datasets import specs
from jaxuda.input import open_records
from jaxuda.models import encoders, segmenter
from jaxuda.torch_weights import export, layouts
from jaxuda.training import checks
from jaxuda.utils import sharding
from jaxuda.utils.errors import UserError

METHOD = """
from jaxuda.methods import Method
from jaxuda.utils.settings import Setting


def segmenter_losses(ctx):
  logits = ctx.outputs['target'].logits['main']
  return {'toy_main': ctx.config.toy.power * abs(logits).mean()}


METHOD = Method(
  streams=('source', 'target'),
  segmenter_losses=segmenter_losses,
  settings={'toy.power': Setting(1.0, 'of the term', least=0.0, most=2.0)},
)
"""
CONFIG = """
from configs import common


def get_config(arg=None):
  config, arg = common.start(arg, 'toy')
  common.set_weights(config, toy_main=0.5)
  return config
"""
ENCODER = """
import flax.linen as nn
import jax.numpy as jnp

from jaxuda.models import layers
from jaxuda.utils.settings import Setting

SETTINGS = {'rate': Setting(0.5, 'of dropout', least=0.0, most=1.0)}
INPUT_NORM = 'torchvision'
DECODER = 'deeplab_v2'
SIDES_DIVIDE_BY = 8
DEEPEST = 'deep'
RNGS = ('dropout',)
LAYOUTS = ()


class Encoder(nn.Module):
  rate: float

  @nn.compact
  def __call__(self, x, train):
    x = layers.Conv(6, 4, 4, name='patches')(x)
    still = not self.has_rng('dropout')
    return {DEEPEST: nn.Dropout(self.rate, deterministic=still)(x)}


def build(config):
  return Encoder(config.model.encoder.rate)


def channels(encoder_config):
  return {DEEPEST: 6}


def param_group(path, config):
  return 'frozen' if path[-1] == 'bias' else 'backbone'


def times_listed(path):
  return 1
"""
DATASET = """
from jaxuda.datasets import files

NEEDS_RAW = True
VERSION = '1.0.0'
DEFAULT_SIZE = None
VARIANTS = ()
ENCODING = 'cityscapes'
COUNTS = {'train': 2}
LABEL_FORMATS = ('grey8',)
ALSO_KNOWN = SIZES_DIFFER = frozenset()
HOMEPAGE = CITATION = ''


def examples(raw, variant, split):
  images = files.listing(raw / 'images', dataset='toys')
  return files.pair(images, files.listing(raw / 'labels', dataset='toys'))
"""


@pytest.fixture
def add(tmp_path, monkeypatch):
  """add(package, name, code): write a file as if it stood in the package."""

  def write(package, name, code):
    folder = tmp_path / package.__name__
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    monkeypatch.setattr(package, '__path__', [*package.__path__, str(folder)])
    return path

  return write


def one_step(config):
  """Return the measurements of a step, by shapes alone."""
  nets, txs = experiment.build(config)
  start = tiny.state.abstract(nets, txs)
  batch = tiny.batch(config, size=1)
  constants = experiment.constants(config, start.segmenter)
  step = experiment.train_step(config)
  _, measured = jax.eval_shape(step, start, batch, constants)
  return measured


def test_a_method(add, tmp_path):
  add(methods, 'toy.py', METHOD)
  (tmp_path / 'page.py').write_text(CONFIG)
  spec = f'{tmp_path}/page.py:streets'
  config = config_lib.load(spec)
  assert config.method == 'toy' and config.toy.power == 1.0
  assert {'loss/toy_main', 'loss/seg_source_main'} <= set(one_step(config))
  wrong = config_lib.load(spec, ['toy.power=3.0'])
  with pytest.raises(UserError, match=r'config\.toy\.power=3\.0 .* at most 2'):
    config_lib.check_values(wrong)
  with pytest.raises(UserError, match=r"did you mean 'toy\.power'"):
    config_lib.load(spec, ['toy.pwer=3'])


def test_an_encoder(add):
  """Every config offers it; its sides, groups and random streams are asked."""
  add(encoders, 'toyformer.py', ENCODER)
  config = config_lib.load('configs/adabn.py:streets,encoder=toyformer')
  assert config.model.encoder.name == 'toyformer'
  assert not config.model.decoder.multi_level  # it has one map
  assert segmenter.rng_names(config) == ('dropout',)
  checks.check(config, sharding.make_mesh())
  odd = config_lib.load(
    'configs/adabn.py:streets,encoder=toyformer', ['source.size=(60,96)']
  )
  with pytest.raises(UserError, match='divisible by 8'):
    checks.check(odd, sharding.make_mesh())

  nets, txs = experiment.build(config)
  start = tiny.state.init(jax.random.key(0), nets, txs)
  groups = segmenter.param_groups(start.segmenter.params, config)
  assert groups['encoder']['patches'] == {'kernel': 'backbone'}
  step = jax.jit(experiment.train_step(config), compiler_options=tiny.QUICK)
  run = functools.partial(step, constants=experiment.constants(config, None))
  batch = tiny.batch(config)
  _, first = run(start, batch)
  _, again = run(start, batch)
  _, later = run(start.replace(step=start.step + 1), batch)
  loss = 'loss/seg_source_main'
  assert first[loss] == again[loss] != later[loss]  # another mask each step
  # Its runs are exported by our own names, and read again.
  tensors = export.to_tensors(start.segmenter.params, layouts.OWN)
  assert tensors['encoder.patches.weight'].shape == (6, 3, 4, 4)
  assert 'jaxuda' in export.segmenter_layouts(config)
  variables = {'params': start.segmenter.params}
  image = batch['source']['image'][:1]
  one, other = (nets.segmenter.apply(variables, image, False) for _ in range(2))
  np.testing.assert_array_equal(one.logits['main'], other.logits['main'])


def test_a_dataset(add, tmp_path):
  add(data, 'toys/__init__.py', DATASET)
  specs.datasets.cache_clear()
  raw = tmp_path / 'raw'
  for folder, mode, color in (('images', 'RGB', (9, 8, 7)), ('labels', 'L', 7)):
    (raw / folder).mkdir(parents=True)
    for i in range(2):
      Image.new(mode, (48, 32), color).save(raw / folder / f'{i}.png')
  where = [f'--raw={raw}', f'--data_dir={raw}']
  assert prepare.main(['prepare', 'toys', *where]) == 0
  records = open_records('toys', None, 'train', str(raw))
  assert len(records) == 2
  specs.datasets.cache_clear()
