"""The least that a step costs: operations and bytes, counted from its program.

Operations are the multiplications and additions of every convolution and matrix
product of the step, forward and backward; a convolution whose gradient is
spread by a stride counts what is not zero. Bytes are what must cross the memory
if everything between two of them were fused into them: each reads its two
operands and writes its result once, and the optimizers read and write
parameters and moments once. Upsampling, losses and norms are left out, so that
no step can be at its floor.
"""

import dataclasses
import math
import time
import unittest.mock

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from benchmarks.perf import common
from jaxuda import experiment, state
from jaxuda.models import layers

# Dense rates by the makers' data sheets, operations a second: of bfloat16, of
# float32 as the units take it by default (TF32 on NVIDIA's), and bytes a
# second.
RATES = {
  'NVIDIA H200': (989e12, 494e12, 4.8e12),
  'NVIDIA H100 80GB HBM3': (989e12, 494e12, 3.35e12),
  'NVIDIA A100-SXM4-80GB': (312e12, 156e12, 2.04e12),
  'NVIDIA A100-SXM4-40GB': (312e12, 156e12, 1.56e12),
  'Tesla V100-SXM2-16GB': (125e12, 15.7e12, 0.9e12),
  'Tesla T4': (65e12, 8.1e12, 0.32e12),
  'TPU v4': (275e12, 275e12, 1.23e12),
  'TPU v5 lite': (197e12, 197e12, 0.82e12),
  'TPU v5': (459e12, 459e12, 2.77e12),
  'TPU v6 lite': (918e12, 918e12, 1.64e12),
}


@dataclasses.dataclass(frozen=True)
class Floor:
  """What a step must do at least.

  Attributes:
    operations: multiplications and additions.
    bytes: read and written.
    operations_s, bytes_s: rates of the device; bytes_s None where unknown.
  """

  operations: float
  bytes: float
  operations_s: float
  bytes_s: float | None

  @property
  def seconds(self) -> float:
    """The longer one of computing and moving."""
    moving = self.bytes / self.bytes_s if self.bytes_s else 0.0
    return max(self.operations / self.operations_s, moving)


def of_step(config, batch) -> Floor:
  """Return the floor of one training step on the device that is there.

  Args:
    config: an experiment's.
    batch: arrays, or their shapes, as step.train_step takes them.
  """
  # What is computed twice is no part of the floor.
  plain = common.changed(config, {'model.remat': False})
  current = state.abstract(*experiment.build(plain))
  operations, moved = of_networks(plain, batch)
  moved += 2 * sum(
    math.prod(x.shape) * x.dtype.itemsize
    for network in (current.segmenter, current.discriminators)
    for x in jax.tree.leaves((network.params, network.opt_state))
  )
  return Floor(operations, moved, *rates(plain.model.dtype))


def of_networks(config, batch) -> tuple[float, float]:
  """Return (operations, bytes) of a step's networks, each time they run."""
  current = state.abstract(*experiment.build(config))
  with unittest.mock.patch.object(layers, 'use_matrix_forms', lambda: False):
    program = jax.make_jaxpr(experiment.train_step(config))(
      current,
      batch,
      experiment.constants(
        config, current.segmenter, common.random_priors(config)
      ),
    )
  return count(program.jaxpr)


def count(jaxpr) -> tuple[float, float]:
  """Return (operations, bytes) of a program: convolutions and products.

  Nested ones, too; a loop's as often as it runs, but not the products of
  layers.resize.
  """
  operations = moved = 0.0
  for eqn in jaxpr.eqns:
    of = _OPERATIONS.get(eqn.primitive.name)
    if of and 'resize' not in str(eqn.source_info.name_stack):
      operations += of(eqn)
      avals = [v.aval for v in (*eqn.invars, *eqn.outvars)]
      moved += sum(math.prod(a.shape) * a.dtype.itemsize for a in avals)
    times = eqn.params['length'] if eqn.primitive.name == 'scan' else 1
    for inner in jaxprs_in_params(eqn.params):
      more, bytes_ = count(inner)
      operations += times * more
      moved += times * bytes_
  return operations, moved


def _convolution(eqn) -> float:
  """2 x outputs x what each one sums; padding counts, as everywhere.

  Where a strided convolution's gradient has spread its input by zeros, 2 x
  inputs x what each one is added to.
  """
  kernel = eqn.invars[1].aval.shape
  numbers = eqn.params['dimension_numbers']
  features, inputs, *window = (kernel[i] for i in numbers.rhs_spec)
  if max(eqn.params['lhs_dilation']) > 1:
    each = math.prod(eqn.invars[0].aval.shape) * features
  else:
    each = math.prod(eqn.outvars[0].aval.shape) * inputs
  return 2.0 * each * math.prod(window)


def _product(eqn) -> float:
  """2 x outputs x what each one sums."""
  (contracted, _), _ = eqn.params['dimension_numbers']
  summed = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
  return 2.0 * math.prod(eqn.outvars[0].aval.shape) * summed


_OPERATIONS = {'conv_general_dilated': _convolution, 'dot_general': _product}


def rates(dtype: str) -> tuple[float, float | None]:
  """Return (operations, bytes) a second; measured for an unknown device."""
  kind = jax.devices()[0].device_kind
  if kind in RATES:
    half, single, moving = RATES[kind]
    return (half if dtype == 'bfloat16' else single), moving
  return measured_rate(dtype), None


def measured_rate(dtype: str, side: int = 2048, times: int = 5) -> float:
  """Return operations a second of a large matrix product, the best of some."""
  x = jnp.ones((side, side), dtype)
  product = jax.jit(jnp.matmul)
  product(x, x).block_until_ready()
  best = math.inf
  for _ in range(times):
    start = time.perf_counter()
    product(x, x).block_until_ready()
    best = min(best, time.perf_counter() - start)
  return 2.0 * side**3 / best
