"""What moves, reduces or multiplies whole tensors."""

import string

import numpy as np
from jax import export

from jaxuda.exporting.to_onnx.graph import (
  Convolution,
  Tensor,
  cast,
  constant,
)


def _reshape(graph, given, params, out):
  names = [graph.name(given[0]), graph.integers(out.shape)]
  return graph.add('Reshape', names)


def _transpose(graph, given, params, out):
  names = [graph.name(given[0])]
  return graph.add('Transpose', names, perm=params['permutation'])


def _concatenate(graph, given, params, out):
  return graph.add('Concat', map(graph.name, given), axis=params['dimension'])


def _slice(graph, given, params, out):
  rank = len(out.shape)
  starts, ends = params['start_indices'], params['limit_indices']
  rows = (starts, ends, range(rank), params['strides'] or [1] * rank)
  return graph.add(
    'Slice', [graph.name(given[0]), *map(graph.integers, map(tuple, rows))]
  )


def _reverse(graph, given, params, out):
  axes = params['dimensions']
  first = np.iinfo(np.int64).min
  rows = [[value] * len(axes) for value in (-1, first)]
  rows += [axes, [-1] * len(axes)]
  return graph.add('Slice', [graph.name(given[0]), *map(graph.integers, rows)])


def _pad(graph, given, params, out):
  low, high, inner = zip(*params['padding_config'], strict=True)
  if any(inner):
    raise NotImplementedError('pad between values')
  x, value = map(graph.name, given)
  return graph.add('Pad', [x, graph.integers([*low, *high]), value])


def _reduced(kind):
  def reduce(graph, given, params, out):
    names = [graph.name(given[0]), graph.integers(params['axes'])]
    return graph.add(kind, names, keepdims=0)

  return reduce


def _argmax(graph, given, params, out):
  [axis] = params['axes']
  found = graph.add('ArgMax', [graph.name(given[0])], axis=axis, keepdims=0)
  return cast(graph, found, out.dtype)


def _iota(graph, given, params, out):
  axis = params['dimension']
  shape = [1] * len(out.shape)
  shape[axis] = out.shape[axis]
  if not export.is_symbolic_dim(shape[axis]):
    return constant(np.arange(shape[axis], dtype=out.dtype).reshape(shape))
  zero, one = (graph.constant(np.array(i, np.int64)) for i in (0, 1))
  numbers = graph.add('Range', [zero, _scalar(graph, shape[axis]), one])
  numbers = graph.add('Reshape', [numbers, graph.integers(shape)])
  return Tensor(cast(graph, numbers, out.dtype), None, tuple(shape))


def _scalar(graph, side):
  """Return i64[], a side of any size."""
  return graph.add('Squeeze', [graph.integers([side])])


def _side(graph, given, params, out):
  return cast(graph, _scalar(graph, params['dim']), out.dtype)


def _dot_general(graph, given, params, out):
  (contracted, batched) = params['dimension_numbers']
  left, right = given
  names = [graph.name(left), graph.name(right)]
  rank = len(left.shape)
  plain = len(right.shape) == 2 and not batched[0]
  if plain and contracted == ((rank - 1,), (0,)):
    return graph.add('MatMul', names)
  letters = iter(string.ascii_letters)
  of_left = [next(letters) for _ in left.shape]
  of_right = [next(letters) for _ in right.shape]
  for pairs in (contracted, batched):
    for i, j in zip(*pairs, strict=True):
      of_right[j] = of_left[i]
  used = {of_left[i] for i in (*contracted[0], *batched[0])}
  result = [of_left[i] for i in batched[0]]
  result += [each for each in of_left + of_right if each not in used]
  words = [''.join(each) for each in (of_left, of_right, result)]
  equation = f'{words[0]},{words[1]}->{words[2]}'
  return graph.add('Einsum', names, equation=equation)


def _conv(graph, given, params, out):
  numbers = params['dimension_numbers']
  if params['batch_group_count'] != 1 or {*params['lhs_dilation']} != {1}:
    raise NotImplementedError('a transposed convolution')
  x, kernel = given
  if kernel.array is None:
    raise NotImplementedError('a convolution with what is computed')
  kernel = np.transpose(kernel.array, numbers.rhs_spec)
  low, high = zip(*params['padding'], strict=True)
  return graph.convolve(
    Convolution(
      graph.add('Transpose', [graph.name(x)], perm=numbers.lhs_spec),
      kernel,
      np.zeros(len(kernel), kernel.dtype),
      np.argsort(numbers.out_spec).tolist(),
      {
        'strides': params['window_strides'],
        'dilations': params['rhs_dilation'],
        'pads': [*low, *high],
        'group': params['feature_group_count'],
      },
    )
  )


def _max_pool(graph, given, params, out):
  """Return the maxima of windows over f[B, H, W, C]."""
  low, high = zip(*params['padding'][1:3], strict=True)
  x = graph.add('Transpose', [graph.name(given[0])], perm=[0, 3, 1, 2])
  y = graph.add(
    'MaxPool',
    [x],
    kernel_shape=params['window_dimensions'][1:3],
    strides=params['window_strides'][1:3],
    pads=[*low, *high],
  )
  return graph.add('Transpose', [y], perm=[0, 2, 3, 1])


def _add_at(graph, given, params, out):
  """Return a tensor to a part of which another one is added."""
  whole, place, part = given
  if place.array is None:
    raise NotImplementedError('scatter-add to a place that is computed')
  starts = [0] * len(out.shape)
  axes = params['dimension_numbers'].scatter_dims_to_operand_dims
  for axis, start in zip(axes, place.array.tolist(), strict=True):
    starts[axis] = start
  ends = [
    side - start - length
    for side, start, length in zip(out.shape, starts, part.shape, strict=True)
  ]
  pads = graph.integers([*starts, *ends])
  padded = graph.add('Pad', [graph.name(part), pads])
  return graph.add('Add', [graph.name(whole), padded])


OPERATORS = {
  'argmax': _argmax,
  'concatenate': _concatenate,
  'conv_general_dilated': _conv,
  'dim_as_value': _side,
  'dot_general': _dot_general,
  'expand_dims': _reshape,
  'iota': _iota,
  'pad': _pad,
  'reduce_max': _reduced('ReduceMax'),
  'reduce_sum': _reduced('ReduceSum'),
  'reduce_window_max': _max_pool,
  'reshape': _reshape,
  'rev': _reverse,
  'scatter-add': _add_at,
  'slice': _slice,
  'squeeze': _reshape,
  'transpose': _transpose,
}
