"""A network that compiles in seconds, its state and its batches."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxuda import checkpoints, experiment, labels, methods, state, step
from jaxuda import config as config_lib
from jaxuda.models import encoders
from jaxuda.utils import names

ROOT = pathlib.Path(__file__).parents[2]
# One that is found by its name as all encoders are: toy.
encoders.__path__.append(str(pathlib.Path(__file__).parent / 'tiny_encoders'))
CLASSES = 19
SOURCE, TARGET = (64, 96), (48, 80)  # the two domains differ in size

_SMALL = {
  'model.encoder.blocks': '(1,1,1,1)',
  'model.encoder.width': '4',
  'model.decoder.multi_level': 'True',
  # The same cross entropy in all methods.
  'temperature': '1.0',
  'ce_reduction': 'batch',
  'optim.name': 'sgd',  # AdamW's first step is a sign: it amplifies rounding
  'discriminator.width': '4',
  'patch.size': '32',
  'optim.warmup': '0',  # its first step has no rate
  'modes.count': '4',  # there are few labels
  'robust.first_step': '0',
  'pyramid.threshold': '0.0',  # an untrained network is sure of nothing
  'gate': '0.0',  # an untrained discriminator is right by chance
  'clan.preheat': '0',  # its first step is plain, those after it are weighted
  'teacher.threshold': '0.0',  # an untrained teacher is sure of nothing
}
_DETAIL = {'model.detail': '(32,32)', 'model.decoder.multi_level': 'False'}

# Weights of terms that come with a setting which is not the default.
UNUSED = {
  'minent': tuple(
    f'{prior}_{head}'
    for prior in ('prior', 'layout', 'sizes')
    for head in ('main', 'aux')
  ),
  'local_alignment': ('adv_main', 'adv_aux', 'd_main', 'd_aux'),
}

# A quarter of the compile time; where the speed of what is compiled is no
# matter.
QUICK = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
  'xla_cpu_use_fusion_emitters': False,
}


def virtual_devices(count: int) -> dict[str, str]:
  """The environment in which a process finds so many CPU devices.

  NPROC: on fewer cores than devices the CPU client's thread pool would be too
  small for collectives, which then wait for each other for ever.
  """
  flag = f'--xla_force_host_platform_device_count={count}'
  flags = f'{os.environ.get("XLA_FLAGS", "")} {flag}'
  return {'XLA_FLAGS': flags, 'NPROC': '32', 'JAX_PLATFORMS': 'cpu'}


def configs() -> list[str]:
  """Return the names of the configs; `common` holds what they share."""
  files = (ROOT / 'configs').glob('[a-z]*.py')
  return sorted(f.stem for f in files if f.stem != 'common')


def all_methods() -> list[str]:
  """Return the methods; each has a config of its name."""
  return names.modules(methods)


def config(spec: str, *overrides: str) -> ConfigDict:
  """A config's experiment on streets, with the tiny network.

  Args:
    spec: its name, and behind a colon further words of its argument.
  """
  name, _, words = spec.partition(':')
  if 'encoder=' not in words:
    words = f'{words},encoder=toy'
  spec = f'configs/{name}.py:streets,{words}'
  keys = config_lib.flatten(config_lib.load(spec))
  given = {override.partition('=')[0] for override in overrides}
  wanted = _SMALL | (_DETAIL if any(keys['model.detail']) else {})
  small = [
    f'{k}={v}' for k, v in wanted.items() if k in keys and k not in given
  ]
  return config_lib.load(spec, [*small, *overrides])


def batch(config, seed: int = 0, size: int = 2) -> dict:
  """Random images for the streams of the config's method, ignored pixels."""
  rng = np.random.default_rng(seed)
  classes = len(labels.space(config.classes).classes)
  label = rng.integers(0, classes, (size, *SOURCE), np.uint8)
  label[:, :10] = 255
  if 'feature_distance' in config:
    label[:, 32:] = 13  # cars, whose cells are compared
  # What is mixed has one size.
  target = SOURCE if {'mix', 'fourier'} & {*config} else TARGET
  streams = {
    'source': {
      'image': rng.integers(0, 256, (size, *SOURCE, 3), np.uint8),
      'label': label,
    },
    'target': {'image': rng.integers(0, 256, (size, *target, 3), np.uint8)},
  }
  streams['labelled'] = {
    'image': rng.integers(0, 256, (size, *TARGET, 3), np.uint8),
    'label': rng.integers(0, classes, (size, *TARGET), np.uint8),
  }
  if config.target.labels_stage and config.target.by_entropy.part != 'hard':
    pseudo = rng.integers(0, classes, (size, *TARGET), np.uint8)
    pseudo[:, 7:20] = 255
    streams['target']['label'] = pseudo
    if config.pseudo.get('soft'):
      shares = rng.integers(0, 256, (size, *TARGET, classes), np.uint8)
      streams['target']['soft'] = shares
  return {name: streams[name] for name in methods.load(config.method).streams}


@dataclasses.dataclass(frozen=True)
class SourceLabels:
  """Labels in memory, as methods.SourceLabels."""

  maps: tuple[np.ndarray, ...]
  classes: int = CLASSES

  @property
  def class_counts(self) -> np.ndarray:
    counts = [np.bincount(m.ravel(), minlength=256) for m in self.maps]
    return np.stack(counts)[:, : self.classes]

  def label_maps(self, count: int):
    return iter(self.maps[:count])


def source_labels(config) -> SourceLabels:
  """Labels in stripes, some classes of which are rare."""
  rng = np.random.default_rng(5)
  classes = len(labels.space(config.classes).classes)
  rows = (rng.random((6, SOURCE[0])) ** 2 * classes).astype(np.uint8)
  return SourceLabels(
    tuple(np.repeat(row[:, None], SOURCE[1], 1) for row in rows), classes
  )


def priors(config) -> dict:
  """What a config's method takes for given of these labels."""
  return methods.load(config.method).priors(config, source_labels(config))


def drawn(shapes, seed: int = 0):
  """Random weights of these shapes, by NumPy, so that nothing is compiled.

  As if trained: a network of any depth predicts several classes.
  """
  rng = np.random.default_rng(seed)

  def fill(path, leaf):
    *parents, name = (key.key for key in path)
    if name == 'kernel':
      std = (2 / np.prod(leaf.shape[:-1])) ** 0.5
      if leaf.shape[-2] == 3:
        std *= 0.01  # of pixels up to 255
      if parents[-1].startswith('conv2d_list'):
        std = 0.01  # of the logits
      return rng.normal(0, std, leaf.shape).astype(leaf.dtype)
    one = 0.2 if parents and parents[-1] == 'bn3' else 1  # adds little, often
    value = {'scale': one, 'var': 1}.get(name, 0)
    return np.full(leaf.shape, value, leaf.dtype)

  return jax.tree_util.tree_map_with_path(fill, shapes)


@functools.cache
def first_state(spec: str, *overrides: str) -> state.TrainState:
  """A state that training might start from; not to be donated."""
  shapes = state.abstract(*experiment.build(config(spec, *overrides)))
  zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
  network = shapes.segmenter
  variables = drawn({'params': network.params, 'stats': network.batch_stats})
  params, stats = jax.tree.map(
    jnp.array, (variables['params'], variables['stats'])
  )
  return zeros.replace(
    segmenter=zeros.segmenter.replace(params=params, batch_stats=stats),
    discriminators=zeros.discriminators.replace(
      params=jax.tree.map(
        jnp.array, drawn(shapes.discriminators.params, seed=1)
      )
    ),
    ema=shapes.ema and state.teacher_of(params, stats),
  )


@dataclasses.dataclass(frozen=True)
class Stepper:
  """A jitted step, and what it takes beside the state and the batch."""

  jitted: Callable
  constants: dict

  def __call__(self, current, batch, weights):
    return self.jitted(current, batch, weights, self.constants)

  def _cache_size(self):
    return self.jitted._cache_size()


@functools.cache
def stepper(spec: str, *overrides: str):
  """The jitted step(state, batch, weights) of a config, nothing donated.

  The weights of the terms are arguments, so that one compilation serves tests
  that change them.
  """
  settings = config(spec, *overrides)
  nets, txs = experiment.build(settings)

  method = methods.load(settings.method)
  constants = experiment.constants(
    settings, first_state(spec, *overrides).segmenter, priors(settings)
  )
  if 'encoder' in constants:  # another one, so that they have a distance
    constants['encoder'] = jax.tree.map(
      lambda leaf: jnp.asarray(1.1 * leaf, leaf.dtype), constants['encoder']
    )

  def run(current, batch, weights, constants):
    weighted = ConfigDict(settings.to_dict() | {'loss_weights': weights})
    return step.train_step(
      current,
      batch,
      constants,
      nets=nets,
      txs=txs,
      method=method,
      config=weighted,
    )

  return Stepper(jax.jit(run, compiler_options=QUICK), constants)


def weights(spec: str, **changed: float) -> dict[str, float]:
  """A config's weights of the terms, some of them changed."""
  return config(spec).loss_weights.to_dict() | changed


def terms(spec: str) -> set[str]:
  """The terms that a config's method has, of those that it weighs."""
  return set(weights(spec)) - unused(config(spec))


def unused(config) -> set[str]:
  """The weights of terms that a config does not have as it is."""
  found = {*UNUSED.get(config.method, ())}
  if 'mix' in config:  # the target is labelled by the method
    found |= {'seg_target_main', 'seg_target_aux'}
  target = config.target
  if target.labels_stage is None or target.by_entropy.part == 'hard':
    found |= {'seg_target_main', 'seg_target_aux'}
  return found


def three_steps(spec: str, *overrides: str, folder: pathlib.Path):
  """Three steps; checks that they are finite, and the same after a restart.

  Args:
    folder: where there is room for a checkpoint of the first step.

  Returns:
    What the last one measured.
  """
  settings = config(spec, *overrides)
  run, start = (
    stepper(spec, *overrides),
    first_state(spec, *overrides),
  )
  batches = [batch(settings, seed) for seed in range(3)]
  given, current = settings.loss_weights.to_dict(), start
  states = []
  for each in batches:
    current, measured = run(current, each, given)
    assert all(np.isfinite(v) for v in measured.values())
    states.append(current)
  assert current.step == 3 and current.skipped == 0
  # What comes out has the types of what went in.
  assert jax.tree.map(jax.typeof, current) == jax.tree.map(jax.typeof, start)
  with checkpoints.Checkpoints(folder / 'checkpoints') as manager:
    manager.save(1, states[0])
    manager.wait()
    again, _ = manager.restore('latest', jax.device_get(start))
  for each in batches[1:]:
    again, _ = run(again, each, given)
  assert same(again, current)
  assert run._cache_size() == 1
  return measured


@functools.cache
def one_step(spec: str, **changed: float):
  """(state, measurements) after the first step, with some weights changed."""
  first = batch(config(spec))
  return stepper(spec)(first_state(spec), first, weights(spec, **changed))


def same(a, b) -> bool:
  """Return whether two trees are equal bit for bit, NaN to NaN."""
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


def assert_close(a, b, **tolerance) -> None:
  """Two trees of equal structure, leaf by leaf."""

  def check(x, y):
    np.testing.assert_allclose(x, y, **tolerance)

  jax.tree.map(check, a, b)
