"""Runs as if trained: random networks that predict several classes."""

import functools

import jax
import tiny

from jaxuda import experiment
from jaxuda.models import segmenter


@functools.cache
def network(spec: str, *overrides: str, clear: float = 1.0) -> experiment.Run:
  """Return a run at step 7, not to be changed.

  Args:
    spec, overrides: of tiny.config.
    clear: factor of the decoder's weights, by which classes differ more.
  """
  config = tiny.config(spec, *overrides)
  drawn = tiny.drawn(segmenter.abstract(experiment.segmenter(config)))
  params = drawn['params']
  params['decoder'] = jax.tree.map(lambda x: clear * x, params['decoder'])
  return experiment.from_variables(config, params, drawn['batch_stats'], 7)
