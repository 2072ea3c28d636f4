"""The training step against recorded steps of the PyTorch originals."""

import functools

import jax
import numpy as np
import originals
import pytest
import recorded
import tiny

from jaxuda import experiment, methods, state, step

pytestmark = pytest.mark.slow


def trained(name):
  """(trace, net, state before, state after, losses of each step)."""
  trace = originals.read(name)
  config = originals.config(trace)
  nets, txs = experiment.build(config)
  init = functools.partial(state.init, nets=nets, txs=txs)
  abstract = jax.eval_shape(init, jax.random.key(0))
  zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
  current = start = originals.start(trace, zeros)
  train_step = jax.jit(
    functools.partial(
      step.train_step,
      nets=nets,
      txs=txs,
      method=methods.load(config.method),
      config=config,
    ),
    compiler_options=tiny.QUICK,
  )
  constants = experiment.constants(config, None)
  losses = []
  for batch in originals.batches(trace):
    current, measured = train_step(current, batch, constants)
    losses.append({k: float(v) for k, v in measured.items()})
  return trace, nets.segmenter, start, current, losses


@pytest.mark.parametrize(
  'name', sorted(set(originals.NAMES) - set(originals.BY_COMMAND_LINES))
)
def test_the_originals_steps(name):
  trace, net, start, end, losses = trained(name)
  recorded.check_losses(trace, losses)
  recorded.check_changes(trace, recorded.changes(trace, start, end))
  recorded.check_logits(trace, net, end.segmenter)
