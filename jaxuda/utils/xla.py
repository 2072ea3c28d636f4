"""How XLA compiles what takes the time: networks that train or predict."""

import os
from collections.abc import Callable

import jax

# On the CPU: its newer emitters of fused loops are off, with which steps are
# slower and need more memory; and the pass that takes optimization_barrier away
# before loops are fused, or nothing could keep a loop from being fused into
# each of its readers (benchmarks/README.md).
_CPU: dict[str, bool | str] = {
  'xla_cpu_use_fusion_emitters': False,
  'xla_disable_hlo_passes': 'cse_barrier_expander',
}


def jit(function: Callable, **settings) -> Callable:
  """Return jax.jit of a function that runs networks, with `options`."""
  chosen = options(jax.default_backend())
  return jax.jit(function, compiler_options=chosen, **settings)


def options(platform: str) -> dict[str, bool | str]:
  """Return the compiler's options for a platform, such as 'cpu'.

  Whoever has set one of them in XLA_FLAGS has their way.
  """
  if platform != 'cpu':
    return {}
  flags = os.environ.get('XLA_FLAGS', '')
  return {name: value for name, value in _CPU.items() if name not in flags}
