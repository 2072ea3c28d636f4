"""ONNX, for onnxruntime and what else reads it."""

import pathlib
from collections.abc import Callable

import jax
import numpy as np
import onnx
import onnxruntime
from jax import export
from onnx import helper

from jaxuda.exporting import program as program_lib
from jaxuda.exporting.program import Program
from jaxuda.exporting.to_onnx.graph import Graph, Tensor, expanded
from jaxuda.exporting.to_onnx.translate import translate
from jaxuda.utils.errors import UserError

FILE = 'model.onnx'
DTYPES = ('float32',)  # onnxruntime's CPU convolutions have no bfloat16


def write(program: Program, path: pathlib.Path) -> None:
  """Write the file, with the network's weights inside.

  Raises:
    UserError: the network has a primitive that to_onnx/ has no operator for.
  """

  def outputs(image):
    return program.plain(program.variables, image)

  closed, shapes = jax.make_jaxpr(outputs, return_shape=True)(program.image)
  image = program_lib.IMAGE
  graph = Graph(image, program.shape[1:3])
  try:
    found = translate(graph, closed, [Tensor(image, None, program.shape)])
  except NotImplementedError as e:
    raise UserError(
      f'--format=onnx has no operator for {e}, which this network needs: '
      '--format=stablehlo or savedmodel.'
    ) from e
  for name, tensor in zip(sorted(shapes), found, strict=True):
    whole = expanded(graph, tensor, shapes[name].shape)
    graph.add_output(name, graph.name(whole))
  model = graph.model(
    [_info(image, program.image)],
    [_info(name, shapes[name]) for name in sorted(shapes)],
  )
  onnx.save(model, path)


def _info(name, like):
  """Return an input's or output's type and shape, sides of any size by name."""
  return helper.make_tensor_value_info(
    name,
    helper.np_dtype_to_tensor_dtype(np.dtype(like.dtype)),
    [str(n) if export.is_symbolic_dim(n) else n for n in like.shape],
  )


def load(path: pathlib.Path) -> Callable:
  """Return the file's function, in onnxruntime."""
  session = onnxruntime.InferenceSession(
    path, providers=['CPUExecutionProvider']
  )
  names = [output.name for output in session.get_outputs()]

  def outputs(image):
    found = session.run(names, {program_lib.IMAGE: image})
    return dict(zip(names, found, strict=True))

  return outputs
