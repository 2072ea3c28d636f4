"""How XLA compiles what takes the time: a training step."""

import jax


def options() -> dict[str, bool]:
  """Return the compiler's options for the backend that is there.

  On the CPU its newer emitters of fused loops are off: without them a DACS step
  with EfficientNet-Lite0 took 0.43 s in place of 0.62, and 2.2 GB in place of
  3.1 (jaxlib 0.10; benchmarks/README.md).
  """
  if jax.default_backend() != 'cpu':
    return {}
  return {'xla_cpu_use_fusion_emitters': False}
