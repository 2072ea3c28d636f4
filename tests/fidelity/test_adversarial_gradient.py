"""Steps in which the adversarial gradient counts, in float64, against PyTorch.

With the papers' weights of 0.001 the recorded steps of the originals hardly see
it: a weight of 0 would pass. reference/float64 has steps whose weights are a
thousand times larger, of the same networks written once more in PyTorch.
"""

import functools

import float64
import jax
import numpy as np
import originals
import pytest
import recorded
import tiny

from jaxuda import experiment, methods, state, step

pytestmark = pytest.mark.slow

FOLDER = originals.REFERENCE / 'float64'
# The schedule and Adam's corrections are computed in float32 all the same.
TOLERANCE = 1e-5


@pytest.mark.parametrize('name', sorted(p.stem for p in FOLDER.glob('*.json')))
def test_the_steps_in_float64(name):
  trace = originals.read(name, FOLDER)
  assert trace['weight'] == 1.0
  with float64.enabled():
    config = float64.widened(originals.config(trace))
    nets, txs = experiment.build(config)
    init = functools.partial(state.init, nets=nets, txs=txs)
    abstract = jax.eval_shape(init, jax.random.key(0))
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract)
    current = start = float64.cast(originals.start(trace, zeros))
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
    recorded.check_losses(trace, losses, rel=TOLERANCE)
    found = recorded.changes(trace, start, current)
    errors = recorded.change_errors(trace, found)
    assert max(errors.values()) < TOLERANCE, max(errors, key=errors.get)
    recorded.check_logits(
      trace, nets.segmenter, current.segmenter, rel=TOLERANCE
    )
