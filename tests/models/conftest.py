"""Networks are compared with NumPy as users compile them."""

import jax
import pytest


@pytest.fixture(autouse=True, scope='module')
def _optimised():
  """Compile with all optimisations, which the rest of the suite leaves out."""
  name = 'jax_disable_most_optimizations'
  before = jax.config.values[name]
  jax.config.update(name, False)
  yield
  jax.config.update(name, before)
