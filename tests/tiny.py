"""A network that compiles in seconds, its state and its batches."""

import functools
import pathlib
import pkgutil

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxuda import config as config_lib
from jaxuda import methods, runs, state, step

ROOT = pathlib.Path(__file__).parents[1]
CLASSES = 19
SOURCE, TARGET = (64, 96), (48, 80)  # the two domains differ in size

_SMALL = {
  'model.blocks': '(1,1,1,1)',
  'model.width': '4',
  'model.multi_level': 'True',
  # The same cross entropy in all methods.
  'model.temperature': '1.0',
  'seg_mean': 'batch',
  'optim.name': 'sgd',  # AdamW's first step is a sign: it amplifies rounding
  'discriminator.width': '4',
  'patch.size': '32',
  'optim.warmup': '0',  # its first step has no rate
}


# A quarter of the compile time; where the speed of what is compiled is no matter.
QUICK = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
  'xla_cpu_use_fusion_emitters': False,
}


def pages() -> list[str]:
  """Names of the config pages; `common` holds what they share."""
  files = (ROOT / 'configs').glob('[a-z]*.py')
  return sorted(f.stem for f in files if f.stem != 'common')


def method_pages() -> list[str]:
  """One page for each method of jaxuda.methods: the one of its name."""
  return [module.name for module in pkgutil.iter_modules(methods.__path__)]


def config(page: str, *overrides: str) -> ConfigDict:
  """A page's experiment on streets, with the tiny network."""
  path = str(ROOT / f'configs/{page}.py')
  keys = config_lib.flatten(config_lib.load(f'{path}:streets'))
  small = [f'{k}={v}' for k, v in _SMALL.items() if k in keys]
  return config_lib.load(f'{path}:streets', [*small, *overrides])


def batch(config, seed: int = 0, size: int = 2) -> dict:
  """Random images for the streams of the config's method, ignored pixels."""
  rng = np.random.default_rng(seed)
  label = rng.integers(0, CLASSES, (size, *SOURCE), np.uint8)
  label[:, :10] = 255
  streams = {
    'source': {
      'image': rng.integers(0, 256, (size, *SOURCE, 3), np.uint8),
      'label': label,
    },
    'target': {'image': rng.integers(0, 256, (size, *TARGET, 3), np.uint8)},
  }
  streams['labelled'] = {
    'image': rng.integers(0, 256, (size, *TARGET, 3), np.uint8),
    'label': rng.integers(0, CLASSES, (size, *TARGET), np.uint8),
  }
  if config.target.labels:
    pseudo = rng.integers(0, CLASSES, (size, *TARGET), np.uint8)
    pseudo[:, 7:20] = 255
    streams['target']['label'] = pseudo
  return {name: streams[name] for name in methods.load(config.method).STREAMS}


@functools.cache
def variables(net) -> dict:
  """A segmenter's params and batch_stats, drawn once for all pages."""
  image = np.zeros((1, *TARGET, 3), np.uint8)
  init = functools.partial(net.init, train=False)
  key = jax.random.split(jax.random.key(0))[0]  # as state.init would
  return jax.jit(init, compiler_options=QUICK)(key, image)


@functools.cache
def first_state(page: str, *overrides: str) -> state.TrainState:
  """The state that training starts from; not to be donated."""
  nets, txs = runs.build(config(page, *overrides))
  init = functools.partial(state.init, nets=nets, txs=txs)
  init = jax.jit(init, compiler_options=QUICK)
  return init(jax.random.key(0), variables=variables(nets.segmenter))


@functools.cache
def stepper(page: str, *overrides: str):
  """The jitted step(state, batch, weights) of a page, nothing donated.

  The weights of the terms are arguments, so that one compilation serves tests
  that change them.
  """
  settings = config(page, *overrides)
  nets, txs = runs.build(settings)

  def run(current, batch, weights):
    weighted = ConfigDict(settings.to_dict() | {'weights': weights})
    return step.train_step(
      current,
      batch,
      nets=nets,
      txs=txs,
      method=methods.load(settings.method),
      config=weighted,
    )

  return jax.jit(run, compiler_options=QUICK)


def weights(page: str, **changed: float) -> dict[str, float]:
  """A page's weights of the terms, some of them changed."""
  return config(page).weights.to_dict() | changed


@functools.cache
def one_step(page: str, **changed: float):
  """(state, measurements) after the first step, with some weights changed."""
  first = batch(config(page))
  return stepper(page)(first_state(page), first, weights(page, **changed))


def same(a, b) -> bool:
  """Whether two trees are equal bit for bit, NaN to NaN."""
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


def assert_close(a, b, **tolerance) -> None:
  """Two trees of equal structure, leaf by leaf."""

  def check(x, y):
    np.testing.assert_allclose(x, y, **tolerance)

  jax.tree.map(check, a, b)
