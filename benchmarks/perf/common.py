"""What the benchmarks share: flags, a step made ready, noise, a record."""

import contextlib
import datetime
import functools
import json
import os
import pathlib
import platform
import re
import resource
import statistics
import time
import unittest.mock
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxuda import config as config_lib
from jaxuda import experiment, labels, methods, state
from jaxuda.models import layers
from jaxuda.utils import cli, sharding, xla
from jaxuda.utils.errors import UserError

RESULTS = pathlib.Path(__file__).parents[1] / 'results'
CONFIG = 'configs/advent.py'  # where a command line names none


class Asked(NamedTuple):
  """The experiment that a command line asks for.

  Attributes:
    config: the experiment's.
    record: its file and its overrides, for the file of results.
  """

  config: ConfigDict
  record: dict[str, Any]


def define_output(command: cli.Flags) -> None:
  """Define where results go."""
  command.text('output', None, 'Folder; default: benchmarks/results.')


def parse(
  command: cli.Flags, argv: Sequence[str], doc: str, config: str = CONFIG
) -> Asked | None:
  """Read a command line with --config.

  Args:
    command: the flags of a benchmark.
    argv: the command and its arguments.
    doc: what --help prints before the flags.
    config: its file, where the command line names none.

  Returns:
    The experiment; None where help was asked for and printed.

  Raises:
    UserError: something on the command line is refused.
  """
  if not any(re.match(r'--?config(=|$)', argument) for argument in argv):
    argv = [argv[0], f'--config={config}', *argv[1:]]
  overrides = [
    argument.lstrip('-').removeprefix('config.')
    for argument in argv
    if re.match(r'--?(no)?config\.', argument)
  ]
  argv = config_lib.define(command.values, argv)
  if cli.wants_help(argv):
    command.parse(argv, doc)
    return None
  cli.placed(config_lib.parse_flags(command.values, argv), ())
  file = command.values['config'].config_filename
  record = {'config': file, 'overrides': overrides}
  return Asked(config_lib.value(command.values), record)


def changed(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
  """Return a copy of a config with other values; dots for levels."""
  copy = config.copy_and_resolve_references()
  copy.update_from_flattened_dict(changes)
  return copy


def whole_numbers(flag: str, texts: Sequence[str]) -> list[int]:
  """Return the numbers of a list flag.

  Raises:
    UserError: one is no whole number above 0.
  """
  if not all(text.isdecimal() and int(text) for text in texts):
    raise UserError(
      f'--{flag} takes whole numbers above 0, not {",".join(texts)!r}.'
    )
  return [int(text) for text in texts]


def parts(text: str) -> list[str]:
  """Return what stands between semicolons, as values may have commas."""
  return [part.strip() for part in text.split(';') if part.strip()]


def random_batch(config) -> dict:
  """Return noise in the shapes that a config names: u8 arrays on the host."""
  rng = np.random.default_rng(0)
  classes = len(labels.space(config.classes).classes)
  batch = {}
  for name in methods.load(config.method).streams:
    stream = config[name]
    size = stream.crop if any(stream.crop) else stream.size
    shape = (stream.batch_size, *size)
    batch[name] = {'image': rng.integers(0, 256, (*shape, 3), np.uint8)}
  for name, given in batch.items():
    s = config[name]
    has_pseudo = s.labels or s.labels_stage
    if name != 'target' or (has_pseudo and s.by_entropy.part != 'hard'):
      shape = given['image'].shape[:3]
      given['label'] = rng.integers(0, classes, shape, np.uint8)
  return batch


def random_priors(config) -> dict:
  """Return what a config's method takes for given of noise as labels."""
  return methods.load(config.method).priors(config, RandomLabels(config))


class RandomLabels:
  """Noise in the place of the source's labels, as methods.SourceLabels."""

  def __init__(self, config, count: int = 8):
    """Draw labels of the size of a config's source."""
    rng = np.random.default_rng(0)
    self._classes = len(labels.space(config.classes).classes)
    shape = (count, *config.source.size)
    self._maps = rng.integers(0, self._classes, shape, np.uint8)

  @property
  def class_counts(self) -> np.ndarray:
    """The pixels of each class in each label, i64[N, C]."""
    flat = (np.bincount(m.ravel(), minlength=256) for m in self._maps)
    return np.stack([counts[: self._classes] for counts in flat])

  def label_maps(self, count: int) -> Iterator[np.ndarray]:
    """Iterate over so many of them at most, u8[H, W]."""
    return iter(self._maps[:count])


class Step:
  """The compiled step of an experiment, its state and its batch, on devices.

  Attributes:
    compile_s: seconds that tracing and compiling took.
    compiled: jax's executable.
    batch: images and labels, sharded over the devices.
  """

  def __init__(
    self, config, mesh=None, shapes_only: bool = False, forms: str = 'auto'
  ):
    """Compile the step.

    Args:
      config: an experiment's.
      mesh: of the devices; None for all.
      shapes_only: compile alone, for memory that this device may not have.
      forms: 'matrix' or 'plain' convolutions where layers.use_matrix_forms
        would decide; 'auto' lets it.
    """
    mesh = mesh or sharding.make_mesh()
    whole = sharding.replicated(mesh)
    nets, txs = experiment.build(config)
    jitted = jax.jit(
      experiment.train_step(config),
      donate_argnums=0,
      out_shardings=whole,
      compiler_options=xla.options(mesh.devices.flat[0].platform),
    )
    init = functools.partial(state.init, nets=nets, txs=txs)
    self.batch = random_batch(config)
    if shapes_only:
      shapes = jax.eval_shape(init, jax.random.key(config.seed))
      self.state = sharding.shapes(shapes, whole)
      self.batch = sharding.shapes(self.batch, sharding.split(mesh))
    else:
      make = jax.jit(init, out_shardings=whole)
      self.state = make(jax.random.key(config.seed))
      self.batch = sharding.shard_batch(mesh)(self.batch)
    self.constants = experiment.constants(
      config, self.state.segmenter, random_priors(config)
    )
    if not shapes_only:  # the step's state is donated
      self.constants = jax.tree.map(jnp.copy, self.constants)
    start = time.perf_counter()
    with _forms(forms):
      self.compiled = jitted.lower(
        self.state, self.batch, self.constants
      ).compile()
    self.compile_s = time.perf_counter() - start

  def __call__(self) -> dict:
    """Take a step and wait for it; return its measurements, on the host."""
    self.state, measured = self.compiled(self.state, self.batch, self.constants)
    return jax.device_get(measured)

  def pipelined(self, steps: int) -> float:
    """Return the seconds of a step of several, of which none is waited for."""
    self()
    start = time.perf_counter()
    for _ in range(steps):
      self.state, _ = self.compiled(self.state, self.batch, self.constants)
    jax.block_until_ready(self.state)
    return (time.perf_counter() - start) / steps

  def temporaries_gib(self) -> float:
    """Return XLA's account of what the step needs beyond state and batch."""
    return self.compiled.memory_analysis().temp_size_in_bytes / 2**30


def mesh_of(devices: Sequence) -> jax.sharding.Mesh:
  """Return the mesh of these devices, along one axis."""
  return jax.make_mesh(
    (len(devices),),
    ('data',),
    axis_types=(jax.sharding.AxisType.Auto,),
    devices=devices,
  )


def _forms(forms):
  if forms == 'auto':
    return contextlib.nullcontext()
  return unittest.mock.patch.object(
    layers, 'use_matrix_forms', lambda: forms == 'matrix'
  )


def times(call: Callable, rounds: int) -> list[float]:
  """Return the seconds of each call, after one that is not counted."""
  [seconds] = in_turn({'': call}, rounds).values()
  return [float(f'{s:.4g}') for s in seconds]


def in_turn(
  contestants: Mapping[str, Callable], rounds: int
) -> dict[str, list[float]]:
  """Return the seconds of each call, after one that is not counted.

  The contestants take turns, so that a machine that slows down slows all.
  """
  seconds = {name: [] for name in contestants}
  for call in contestants.values():
    call()
  for _ in range(rounds):
    for name, call in contestants.items():
      start = time.perf_counter()
      call()
      seconds[name].append(time.perf_counter() - start)
  return seconds


def median(values) -> float:
  """Return the median with as many digits as a timing deserves."""
  return float(f'{statistics.median(values):.4g}')


def process_peak_gib() -> float:
  """Return the most memory of the host that this process has had."""
  # Linux counts in KiB, macOS in bytes.
  unit = 1 if platform.system() == 'Darwin' else 1024
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return round(peak * unit / 2**30, 2)


def where() -> dict:
  """Return what makes a result understood later: device, versions, date."""
  versions = {}
  for name in ('jax', 'flax', 'optax', 'torch', 'tensorflow-cpu'):
    try:
      versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      continue
  return {
    'device': jax.devices()[0].device_kind,
    'devices': jax.device_count(),
    'cores': os.cpu_count(),
    'machine': platform.machine(),
    'python': platform.python_version(),
    'versions': versions,
    'date': datetime.date.today().isoformat(),
  }


def write(name: str, result: dict, folder: str | None = None) -> pathlib.Path:
  """Write a result with where it was measured; return the file's path."""
  path = pathlib.Path(folder or RESULTS) / f'{name}.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(where() | result, indent=1) + '\n')
  return path
