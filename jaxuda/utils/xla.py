"""How XLA compiles what takes the time: a training step."""

import os

import jax

_EMITTERS = 'xla_cpu_use_fusion_emitters'


def options(mesh: jax.sharding.Mesh) -> dict[str, bool]:
  """Return the compiler's options for the devices of a mesh.

  On the CPU its newer emitters of fused loops are off: steps are faster without
  them, and need less memory (benchmarks/README.md). Whoever has set that in
  XLA_FLAGS has their way.
  """
  is_cpu = mesh.devices.flat[0].platform == 'cpu'
  if not is_cpu or _EMITTERS in os.environ.get('XLA_FLAGS', ''):
    return {}
  return {_EMITTERS: False}
