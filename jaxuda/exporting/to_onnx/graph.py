"""A graph of ONNX operators, put together one by one."""

import ast
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from jax import export
from onnx import helper, numpy_helper

OPSET, IR_VERSION = 18, 10  # of 2023: what readers have that are not new
_INT64 = onnx.TensorProto.INT64
# How the sides of any size are computed, by their names in Python's grammar.
_ARITHMETIC = {ast.Add: 'Add', ast.Sub: 'Sub', ast.Mult: 'Mul'}
_CALLS = {'max': 'Max', 'min': 'Min', 'mod': 'Mod'}


class Tensor(NamedTuple):
  """A tensor of the graph.

  Attributes:
    name: of the tensor; None for a constant that no operator has asked for.
    array: its value, where that is constant.
    shape: of what the graph has. A side that is 1 there may stand for more:
      ONNX repeats it where it meets a longer one.
  """

  name: str | None
  array: np.ndarray | None
  shape: tuple


class Convolution(NamedTuple):
  """A convolution of f[B, H, W, C], of which a norm may become a part.

  Attributes:
    x: name of its input, f[B, C, H, W].
    kernel: f[O, I, k, k].
    bias: f[O].
    order: of the sides of its result, f[B, O, H', W'], in the program.
    attributes: of the operator.
  """

  x: str
  kernel: np.ndarray
  bias: np.ndarray
  order: Sequence[int]
  attributes: dict[str, Any]


class Graph:
  """Operators, constants, and the sides of the image, which may be any.

  Attributes:
    convolutions: by the name of their result, as the program has it.
  """

  def __init__(self, image: str, sides: Sequence[Any]):
    """Begin with an image u8[1, H, W, 3].

    Args:
      image: the tensor's name.
      sides: H and W; those of any size by their names.
    """
    self.convolutions = {}
    self._nodes, self._initializers = [], []
    self._sides = {}
    self._constants = {}
    for axis, side in enumerate(sides, 1):
      if export.is_symbolic_dim(side):
        shape = self.add('Shape', [image], start=axis, end=axis + 1)
        self._sides[str(side)] = shape

  def add(self, kind: str, inputs: Iterable[str], **attributes) -> str:
    """Add an operator; return the name of its output."""
    inputs = list(inputs)  # which may add operators of their own
    name = f'{kind.lower()}_{len(self._nodes)}'
    self._nodes.append(
      helper.make_node(kind, inputs, [name], name=name, **attributes)
    )
    return name

  def convolve(self, convolution: Convolution) -> str:
    """Add a convolution; return the name of its result."""
    weights = map(self.constant, (convolution.kernel, convolution.bias))
    y = self.add('Conv', [convolution.x, *weights], **convolution.attributes)
    y = self.add('Transpose', [y], perm=convolution.order)
    self.convolutions[y] = convolution
    return y

  def add_output(self, name: str, of: str) -> None:
    """Let a tensor be an output of the graph, by another name."""
    self._nodes.append(helper.make_node('Identity', [of], [name], name=name))

  def constant(self, array: np.ndarray) -> str:
    """Return the name of a constant; equal ones are stored once."""
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    digest = hashlib.sha256(array).digest()
    key = (array.dtype.str, array.shape, digest)
    if key not in self._constants:
      name = f'constant_{len(self._initializers)}'
      self._initializers.append(numpy_helper.from_array(array, name))
      self._constants[key] = name
    return self._constants[key]

  def name(self, tensor: Tensor) -> str:
    """Return a tensor's name, by which operators read it."""
    return tensor.name or self.constant(tensor.array)

  def integers(self, values: Sequence[Any]) -> str:
    """Return i64[n], some of which may follow from the image's size."""
    if not any(map(export.is_symbolic_dim, values)):
      return self.constant(np.array(values, np.int64))
    parts = [self._integer(value) for value in values]
    return self.add('Concat', parts, axis=0) if len(parts) > 1 else parts[0]

  def _integer(self, value):
    """Return i64[1]; JAX writes what follows from a size in Python's words."""
    return self._evaluate(ast.parse(str(value), mode='eval').body)

  def _evaluate(self, tree):
    text = ast.unparse(tree)
    if text not in self._sides:
      self._sides[text] = self._compute(tree)
    return self._sides[text]

  def _compute(self, tree):
    match tree:
      case ast.Constant():
        return self.constant(np.array([tree.value], np.int64))
      case ast.UnaryOp(ast.USub()):
        return self.add('Neg', [self._evaluate(tree.operand)])
      case ast.BinOp(op=ast.Pow()):
        factors = [self._evaluate(tree.left)] * tree.right.value
        product = factors[0]
        for factor in factors[1:]:
          product = self.add('Mul', [product, factor])
        return product
      case ast.BinOp():
        kind = _ARITHMETIC.get(type(tree.op))
        if kind:
          both = [self._evaluate(tree.left), self._evaluate(tree.right)]
          return self.add(kind, both)
      case ast.Call(func=ast.Name('floordiv')):
        return self._floor_divided(*map(self._evaluate, tree.args))
      case ast.Call(func=ast.Name(name)) if name in _CALLS:
        return self.add(_CALLS[name], map(self._evaluate, tree.args))
    raise NotImplementedError(f'sides of {ast.unparse(tree)}')

  def _floor_divided(self, x, divisor):
    """Return x // divisor; ONNX rounds towards 0 instead."""
    rest = self.add('Mod', [x, divisor])  # of the divisor's sign
    return self.add('Div', [self.add('Sub', [x, rest]), divisor])

  def model(self, inputs: Sequence, outputs: Sequence) -> onnx.ModelProto:
    """Return the model of the graph, checked.

    Args:
      inputs, outputs: their onnx.ValueInfoProtos.
    """
    needed, nodes = {output.name for output in outputs}, []
    for node in reversed(self._nodes):  # some have become parts of others
      if needed.intersection(node.output):
        needed.update(node.input)
        nodes.append(node)
    constants = [each for each in self._initializers if each.name in needed]
    model = helper.make_model(
      helper.make_graph(nodes[::-1], 'jaxuda', inputs, outputs, constants),
      producer_name='jaxuda',
      opset_imports=[helper.make_opsetid('', OPSET)],
      ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model


def constant(value: Any, dtype: np.dtype | None = None) -> Tensor:
  """Return a constant."""
  array = np.asarray(value, dtype)
  return Tensor(None, array, array.shape)


def expanded(graph: Graph, tensor: Tensor, shape: Sequence[Any]) -> Tensor:
  """Return a tensor whose every side is as long as it stands for."""
  if tuple(tensor.shape) == tuple(shape):
    return tensor
  name = graph.add('Expand', [graph.name(tensor), graph.integers(shape)])
  return Tensor(name, None, tuple(shape))


def cast(graph: Graph, name: str, dtype: np.dtype) -> str:
  """Return the name of a tensor in another type."""
  kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
  return graph.add('Cast', [name], to=kind)
