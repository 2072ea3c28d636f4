"""The library in float64, which it has no setting for.

Where it says float32, float64 is read.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda import config as config_lib
from jaxuda.models import discriminators, layers, norm, segmenter
from jaxuda.models.decoders import deeplab_v2

# Where arrays are cast to float32 by name, whatever the compute type is.
_CASTING = (discriminators, layers, norm, segmenter, deeplab_v2)


class _Wide:
  """A module of arrays whose float32 is float64."""

  def __init__(self, module):
    self._module = module
    self.float32 = module.float64

  def __getattr__(self, name):
    return getattr(self._module, name)


@contextlib.contextmanager
def enabled():
  """Compute in float64 while inside; what is traced there is no other's."""
  with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
    for module in _CASTING:
      patch.setattr(module, 'jnp', _Wide(jnp))
    patch.setattr(layers, 'np', _Wide(np))
    patch.setattr(config_lib, 'check_values', lambda _: None)
    yield


def widened(config):
  """A config whose networks compute in float64."""
  with config.unlocked():
    config.model.dtype = 'float64'
  return config


def cast(tree):
  """All floats of a tree as float64."""
  return jax.tree.map(
    lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, tree
  )
