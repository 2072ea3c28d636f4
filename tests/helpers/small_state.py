"""A train state of the usual form, small, and what checkpoint tests share."""

import os
import pathlib
import subprocess
import sys
import textwrap

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxuda import checkpoints

HELPERS = pathlib.Path(__file__).parent


@flax.struct.dataclass
class NetworkState:
  params: dict
  batch_stats: dict
  opt_state: optax.OptState


@flax.struct.dataclass
class State:
  step: jax.Array
  segmenter: NetworkState
  discriminators: NetworkState


def make_state(step: int, width: int = 8) -> State:
  """Return a state, another one for each step, the same in every process.

  NumPy draws it: what XLA draws depends on how it was compiled.
  """
  rng = np.random.default_rng(step)

  def draw(*shape):
    return jnp.asarray(rng.standard_normal(shape, np.float32))

  params = {
    'conv1': {'kernel': draw(3, 3, 3, width)},
    'head': {'bias': jnp.arange(5, dtype=jnp.bfloat16) + step},
  }
  stats = {'bn1': {'mean': draw(width)}}
  sgd = optax.chain(optax.trace(0.9), optax.scale_by_schedule(lambda _: 0.1))
  heads = {'main': {'kernel': draw(4, 4)}, 'aux': {}}
  return State(
    jnp.int32(step),
    NetworkState(params, stats, sgd.init(params)),
    NetworkState(heads, {}, optax.adam(1e-3).init(heads)),
  )


def save(directory, metrics, **kwargs):
  """Save a checkpoint at steps 1, 2, ...; `metrics` are their miou."""
  with checkpoints.Checkpoints(directory, **kwargs) as manager:
    for step, miou in enumerate(metrics, 1):
      manager.save(step, make_state(step), {'miou': miou}, {'note': step})


def restore(directory, step, abstract=None):
  """Return the state and the notes of a checkpoint."""
  with checkpoints.Checkpoints(directory) as manager:
    return manager.restore(
      step, abstract or jax.eval_shape(lambda: make_state(1))
    )


def equal(a, b):
  """Return whether two trees are equal bit for bit, types included."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  return all(
    x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def run_child(code, *args, **env):
  """Start a Python process beside this one; `code` knows make_state."""
  env = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'NPROC': '32',  # several virtual devices deadlock on few cores
    'PYTHONPATH': f'{HELPERS}:{HELPERS.parents[1]}',
    **env,
  }
  code = 'from small_state import make_state\n' + textwrap.dedent(code)
  return subprocess.Popen(
    [sys.executable, '-c', code, *map(str, args)],
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
