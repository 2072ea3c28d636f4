"""Arithmetic, one number of a tensor at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import export

from jaxuda.exporting.to_onnx.graph import Graph, Tensor, cast

_SIMPLE = {
  'abs': 'Abs',
  'add': 'Add',
  'and': 'And',
  'div': 'Div',
  'eq': 'Equal',
  'erf': 'Erf',
  'exp': 'Exp',
  'floor': 'Floor',
  'ge': 'GreaterOrEqual',
  'gt': 'Greater',
  'le': 'LessOrEqual',
  'log': 'Log',
  'logistic': 'Sigmoid',
  'lt': 'Less',
  'mul': 'Mul',
  'neg': 'Neg',
  'pow': 'Pow',
  'sqrt': 'Sqrt',
  'sub': 'Sub',
  'tanh': 'Tanh',
}


def has(name: str) -> bool:
  """Return whether a primitive is arithmetic."""
  return name in _SIMPLE or name in _OTHERS


def apply(
  graph: Graph, name: str, given: Sequence[Tensor], params: dict, out: Any
) -> Tensor:
  """Return the result of arithmetic on tensors, some sides of which are 1.

  Args:
    graph: receives the operators.
    name, params: of the primitive.
    given: its operands.
    out: shape and type of its result.
  """
  if len(given) == 2 and (conv := _within_convolution(graph, name, *given)):
    return Tensor(graph.convolve(conv), None, given[0].shape)
  names = [graph.name(tensor) for tensor in given]
  if name in _OTHERS:
    found = _OTHERS[name](graph, names, params, out)
  else:
    found = graph.add(_SIMPLE[name], names)
  whole = [
    tensor.shape for tensor in given if tensor.shape
  ]  # numbers have none
  return Tensor(found, None, tuple(map(_longest, zip(*whole, strict=True))))


def _longest(sides):
  """Return the side that is not 1, if any."""
  longer = [n for n in sides if export.is_symbolic_dim(n) or n != 1]
  return longer[0] if longer else 1


def _rsqrt(graph, names, params, out):
  return graph.add('Reciprocal', [graph.add('Sqrt', names)])


def _erfc(graph, names, params, out):
  one = graph.constant(np.ones((), out.dtype))
  return graph.add('Sub', [one, graph.add('Erf', names)])


def _power(graph, names, params, out):
  exponent = graph.constant(np.array(params['y'], out.dtype))
  return graph.add('Pow', [*names, exponent])


def _larger(graph, names, params, out):
  zero = graph.constant(np.zeros((), np.float32))
  if names[1] == zero:
    return graph.add('Relu', names[:1])  # runtimes do it in convolutions
  return graph.add('Max', names)


def _smaller(graph, names, params, out):
  six = graph.constant(np.array(6, np.float32))
  if names[1] == six:
    return graph.add('Clip', [names[0], '', six])  # likewise
  return graph.add('Min', names)


def _select(graph, names, params, out):
  which, if_false, if_true = names
  return graph.add('Where', [which, if_true, if_false])


_OTHERS = {
  'convert_element_type': lambda graph, names, params, out: cast(
    graph, *names, out.dtype
  ),
  'erfc': _erfc,
  'integer_pow': _power,
  'max': _larger,
  'min': _smaller,
  'rem': lambda graph, names, params, out: graph.add('Mod', names, fmod=1),
  'rsqrt': _rsqrt,
  'select_n': _select,
  'square': lambda graph, names, params, out: graph.add('Mul', 2 * names),
}


def _within_convolution(graph, name, x, other):
  """Return a convolution that also does what a norm does to its result.

  None where that is no arithmetic by channels.
  """
  found, channels = graph.convolutions.get(x.name), other.array
  if found is None or channels is None:
    return None
  if channels.shape[-1:] != (channels.size,):
    return None
  if name == 'mul':
    kernel = found.kernel * channels.reshape(-1, 1, 1, 1)
    return found._replace(kernel=kernel, bias=found.bias * channels.ravel())
  sign = {'add': 1, 'sub': -1}.get(name)
  return sign and found._replace(bias=found.bias + sign * channels.ravel())
