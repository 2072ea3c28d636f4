"""What the benchmarks share: a step made ready, noise to feed it, a record."""

import contextlib
import datetime
import functools
import json
import os
import pathlib
import platform
import resource
import statistics
import time
import unittest.mock
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

import jax
import numpy as np

from jaxuda import experiment, labels, methods, state
from jaxuda.models import layers
from jaxuda.utils import sharding

RESULTS = pathlib.Path(__file__).parent / 'results'


def random_batch(config) -> dict:
  """Noise in the shapes that the config names: uint8 arrays on the host."""
  rng = np.random.default_rng(0)
  classes = len(labels.space(config.classes).classes)
  batch = {}
  for name in methods.load(config.method).streams:
    stream = config[name]
    size = stream.crop if any(stream.crop) else stream.size
    shape = (stream.batch_size, *size)
    batch[name] = {'image': rng.integers(0, 256, (*shape, 3), np.uint8)}
  for name, given in batch.items():
    if name != 'target' or config[name].labels:
      shape = given['image'].shape[:3]
      given['label'] = rng.integers(0, classes, shape, np.uint8)
  return batch


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
    """Compiles the step.

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
      experiment.train_step(config), donate_argnums=0, out_shardings=whole
    )
    init = functools.partial(state.init, nets=nets, txs=txs)
    self.batch = random_batch(config)
    if shapes_only:
      self.state = jax.eval_shape(init, jax.random.key(config.seed))
    else:
      make = jax.jit(init, out_shardings=whole)
      self.state = make(jax.random.key(config.seed))
      self.batch = sharding.shard_batch(mesh)(self.batch)
    start = time.perf_counter()
    with _forms(forms):
      self.compiled = jitted.lower(self.state, self.batch).compile()
    self.compile_s = time.perf_counter() - start

  def __call__(self) -> dict:
    """Takes a step and waits for it; its measurements, on the host."""
    self.state, measured = self.compiled(self.state, self.batch)
    return jax.device_get(measured)

  def temporaries_gib(self) -> float:
    """XLA's own account of what the step needs besides state and batch."""
    return self.compiled.memory_analysis().temp_size_in_bytes / 2**30


def mesh_of(devices: Sequence) -> jax.sharding.Mesh:
  """These devices, along one axis."""
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
  """Seconds of each call, after one that is not counted."""
  [seconds] = in_turn({'': call}, rounds).values()
  return [float(f'{s:.4g}') for s in seconds]


def in_turn(
  contestants: Mapping[str, Callable], rounds: int
) -> dict[str, list[float]]:
  """Seconds of each call, after one that is not counted.

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
  """The median with as many digits as a timing deserves."""
  return float(f'{statistics.median(values):.4g}')


def process_peak_gib() -> float:
  """The most memory of the host that this process has had."""
  # Linux counts in KiB, macOS in bytes.
  unit = 1 if platform.system() == 'Darwin' else 1024
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return round(peak * unit / 2**30, 2)


def where() -> dict:
  """What a result needs to be understood later: device, versions, date."""
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
  """Stores a result with where it was measured; the file's path."""
  path = pathlib.Path(folder or RESULTS) / f'{name}.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(where() | result, indent=1) + '\n')
  return path
