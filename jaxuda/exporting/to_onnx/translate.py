"""A JAX program as ONNX's operators: the primitives that the networks have.

What is constant is computed here and stored. A broadcast waits for an operator
that needs it: ONNX's arithmetic repeats sides of 1 by itself, and runtimes then
find a convolution and its norm side by side.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax import export
from jax.extend import core

from jaxuda.exporting.to_onnx import arithmetic, structure
from jaxuda.exporting.to_onnx.graph import Graph, Tensor, constant, expanded

# Primitives that are calls, and their parameter that holds what is called.
_CALLS = {
  'closed_call': 'call_jaxpr',
  'custom_jvp_call': 'call_jaxpr',
  'custom_vjp_call': 'call_jaxpr',
  'jit': 'jaxpr',
  'remat2': 'jaxpr',
}
_SAME = ('stop_gradient', 'copy', 'copy_p', 'optimization_barrier')


def translate(
  graph: Graph, closed: core.ClosedJaxpr, inputs: Sequence[Tensor]
) -> list[Tensor]:
  """Add a program's operators to a graph; return its outputs.

  Raises:
    NotImplementedError: it has a primitive that no network here has.
  """
  jaxpr = closed.jaxpr
  known = dict(zip(jaxpr.invars, inputs, strict=True))
  for variable, value in zip(jaxpr.constvars, closed.consts, strict=True):
    known[variable] = constant(value, variable.aval.dtype)

  def read(atom):
    if isinstance(atom, core.Literal):
      return constant(atom.val, atom.aval.dtype)
    return known[atom]

  for equation in jaxpr.eqns:
    found = _outputs(graph, equation, [*map(read, equation.invars)])
    known.update(zip(equation.outvars, found, strict=True))
  return [*map(read, jaxpr.outvars)]


def _outputs(graph, equation, given):
  """Return the tensors that an equation makes."""
  name, params = equation.primitive.name, equation.params
  if name in _CALLS:
    inner = params[_CALLS[name]]
    if not isinstance(inner, core.ClosedJaxpr):
      inner = core.ClosedJaxpr(inner, ())
    return translate(graph, inner, given)
  if name == 'scan':
    return _unrolled(graph, equation, given)
  if name in _SAME:
    return given
  if len(equation.outvars) != 1:
    raise NotImplementedError(name)
  [out] = [variable.aval for variable in equation.outvars]
  if name == 'broadcast_in_dim':
    return [_broadcast(graph, given[0], out, params)]
  shapes = [atom.aval.shape for atom in equation.invars]
  elementwise = arithmetic.has(name)
  known = given and all(tensor.array is not None for tensor in given)
  if known and not any(map(export.is_symbolic_dim, out.shape)):
    return [_computed(equation, given, elementwise)]
  if elementwise:
    return [arithmetic.apply(graph, name, given, params, out)]
  if name not in structure.OPERATORS:
    raise NotImplementedError(name)
  for i in range(name == 'scatter-add', len(given)):  # whose first is added to
    given[i] = expanded(graph, given[i], shapes[i])
  found = structure.OPERATORS[name](graph, given, params, out)
  if isinstance(found, str):
    found = Tensor(found, None, tuple(out.shape))
  return [found]


def _unrolled(graph, equation, given):
  """Return what a function makes of items one after another (jax.lax.map)."""
  params, count = equation.params, equation.params['num_consts']
  if params['num_carry']:
    raise NotImplementedError('scan with a carry')
  whole = [
    expanded(graph, tensor, atom.aval.shape)
    for tensor, atom in zip(given, equation.invars, strict=True)
  ]
  rows = []
  for i in range(params['length']):
    at = graph.constant(np.array(i, np.int64))
    items = [
      Tensor(
        graph.add('Gather', [graph.name(tensor), at], axis=0),
        None,
        tensor.shape[1:],
      )
      for tensor in whole[count:]
    ]
    rows.append(translate(graph, params['jaxpr'], [*given[:count], *items]))
  return [
    _stacked(graph, column, variable.aval.shape)
    for variable, column in zip(
      equation.outvars, zip(*rows, strict=True), strict=True
    )
  ]


def _stacked(graph, parts, shape):
  """Return tensors one after another, of a shape with their number first."""
  zero = graph.integers([0])
  rows = [
    graph.add('Unsqueeze', [graph.name(expanded(graph, part, shape[1:])), zero])
    for part in parts
  ]
  return Tensor(graph.add('Concat', rows, axis=0), None, shape)


def _computed(equation, given, elementwise):
  """Return the value of an equation of constants, as JAX computes it."""
  arrays = [tensor.array for tensor in given]
  if elementwise:
    arrays = np.broadcast_arrays(*arrays)
  else:
    arrays = [
      np.broadcast_to(array, atom.aval.shape)
      for array, atom in zip(arrays, equation.invars, strict=True)
    ]
  arrays = map(jax.numpy.asarray, arrays)
  return constant(equation.primitive.bind(*arrays, **equation.params))


def _broadcast(graph, tensor, out, params):
  """Return a tensor with all sides, those that are repeated still 1."""
  shape = [1] * len(out.shape)
  places = params['broadcast_dimensions']
  for place, side in zip(places, tensor.shape, strict=True):
    shape[place] = side
  if tensor.array is not None:
    return constant(tensor.array.reshape(shape))
  if tuple(shape) == tuple(tensor.shape):
    return tensor
  name = graph.add('Reshape', [tensor.name, graph.integers(shape)])
  return Tensor(name, None, tuple(shape))
