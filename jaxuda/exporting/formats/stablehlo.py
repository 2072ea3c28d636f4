"""StableHLO by jax.export: one file for CPUs, NVIDIA's GPUs and TPUs."""

import pathlib
from collections.abc import Callable

import jax
from jax import export

from jaxuda.exporting import program as program_lib
from jaxuda.exporting.program import Program

FILE = 'model.stablehlo'
DTYPES = ('float32', 'bfloat16')


def write(program: Program, path: pathlib.Path) -> None:
  """Write the file, with the network's weights inside."""

  def outputs(image):
    return program.on_each_platform(program.variables, image)

  exported = export.export(jax.jit(outputs), platforms=program_lib.PLATFORMS)(
    program.image
  )
  path.write_bytes(exported.serialize())


def load(path: pathlib.Path) -> Callable:
  """Return the file's function."""
  return jax.jit(export.deserialize(bytearray(path.read_bytes())).call)
