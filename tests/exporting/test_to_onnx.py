"""Operators of ONNX against JAX, where the networks do not reach every case."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from jax import export
from onnx import helper

from jaxuda.exporting.to_onnx.graph import Graph, Tensor, expanded
from jaxuda.exporting.to_onnx.translate import translate
from jaxuda.models import windows


def session(function, like):
  """A function of one array as onnxruntime has it, and its graph."""
  closed = jax.make_jaxpr(function)(like)
  graph = Graph('x', like.shape[1:3])
  [found] = translate(graph, closed, [Tensor('x', None, like.shape)])
  out = closed.out_avals[0]
  graph.add_output('y', graph.name(expanded(graph, found, out.shape)))

  def info(name, of):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(of.dtype))
    return helper.make_tensor_value_info(name, kind, [None] * len(of.shape))

  model = graph.model([info('x', like)], [info('y', out)])
  ran = onnxruntime.InferenceSession(model.SerializeToString())
  return lambda x: ran.run(['y'], {'x': x})[0], model


ROW = jnp.arange(1, 4, dtype=jnp.float32)
FUNCTIONS = {
  'broadcasts wait': lambda x: (x + ROW) * jnp.ones((1, 6, 8, 3)),
  'a broadcast of a result': lambda x: jnp.broadcast_to(
    x.sum((1, 2), keepdims=True), x.shape
  ),
  'a part is added': lambda x: jnp.zeros((1, 9, 9, 3)).at[:, 2:8, 1:9].add(x),
  'a row is added': lambda x: (
    jnp.asarray(x).at[:, 1:2].add(jnp.ones((1, 1, 8, 3)) * 3)
  ),
  'flips': lambda x: jnp.flip(x, (1, 3)),
  'slices': lambda x: x[:, 1:6:2, 2:7:3],
  'pads': lambda x: jnp.pad(x, ((0, 0), (1, 2), (3, 0), (0, 0))),
  'reductions': lambda x: x.max(-1) - x.sum(-1),
  'the likeliest': lambda x: x.argmax(-1).astype(jnp.uint8),
  'choices': lambda x: jnp.where(x > 0.5, x, -x),
  'clipping': lambda x: jnp.clip(x, 0.2, 0.6) + jax.nn.relu6(9 * x - 1),
  'whole numbers': lambda x: jax.lax.rem(
    (9 * x).astype(jnp.int32) - 4, jnp.int32(3)
  ),
  'functions': lambda x: jax.nn.gelu(x, approximate=False) + jax.nn.sigmoid(x),
  'powers': lambda x: x**3 + jax.lax.rsqrt(x + 1) + jnp.square(x),
  'products': lambda x: jnp.einsum('bhwc,bhvc->bwvh', x, x),
  'a map over items': lambda x: jax.lax.map(
    lambda row: row * ROW + x[0, 0], x[0]
  ),
  'windows by parts': lambda x: windows.by_parts(
    jnp.concatenate([x, 2 * x, 3 * x]), jnp.tanh, pixels=2 * 6 * 8
  ),
  'calls': lambda x: jax.checkpoint(jnp.tanh)(jax.jit(jnp.exp)(x)),
}


@pytest.mark.parametrize('name', FUNCTIONS)
def test_operators(name):
  x = np.random.default_rng(0).random((1, 6, 8, 3), np.float32)
  predict, _ = session(FUNCTIONS[name], jax.ShapeDtypeStruct(x.shape, x.dtype))
  np.testing.assert_allclose(
    predict(x), np.asarray(FUNCTIONS[name](x)), rtol=1e-5, atol=1e-6
  )


def conv(x, kernel, padding=(1, 1)):
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), [padding] * 2, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def test_a_norm_becomes_part_of_its_convolution():
  rng = np.random.default_rng(0)
  kernel = rng.standard_normal((3, 3, 3, 5), np.float32)
  mean, scale, bias = rng.random((3, 5), np.float32)

  def function(x):
    return jax.nn.relu((conv(x, kernel) - mean) * scale + bias)

  x = rng.random((1, 6, 8, 3), np.float32)
  predict, model = session(function, jax.ShapeDtypeStruct(x.shape, x.dtype))
  np.testing.assert_allclose(predict(x), function(x), rtol=1e-4, atol=1e-4)
  kinds = [node.op_type for node in model.graph.node]
  assert kinds == ['Transpose', 'Conv', 'Transpose', 'Relu', 'Identity']


def test_a_result_that_others_read_stays_as_it_was():
  kernel = np.random.default_rng(0).standard_normal((3, 3, 3, 3), np.float32)

  def function(x):
    y = conv(x, kernel)
    return (y * ROW) + y

  x = np.random.default_rng(1).random((1, 6, 8, 3), np.float32)
  predict, _ = session(function, jax.ShapeDtypeStruct(x.shape, x.dtype))
  np.testing.assert_allclose(predict(x), function(x), rtol=1e-4, atol=1e-4)


def test_sides_that_follow_from_the_image_s():
  """Floors of negative numbers, too, which ONNX rounds towards 0."""
  shape = export.symbolic_shape('1, h, w, 1', constraints=['h>=8', 'w>=8'])
  like = jax.ShapeDtypeStruct(shape, jnp.float32)

  def padded(x):
    h, w = x.shape[1:3]
    more = jax.core.max_dim(-(-h // 3) * 4 - h, 0), (w - 5) % 4
    return jnp.pad(x, ((0, 0), (more[0], 0), (0, more[1] + 1), (0, 0)))

  predict, _ = session(padded, like)
  for h, w in ((8, 9), (11, 10), (12, 15), (31, 8)):
    x = np.random.default_rng(0).random((1, h, w, 1), np.float32)
    np.testing.assert_array_equal(predict(x), padded(x))


@pytest.mark.parametrize(
  ('function', 'told'),
  [
    (jnp.sort, 'sort'),
    (lambda x: jax.lax.top_k(x, 2)[0], 'top_k'),
    (lambda x: jnp.cumsum(x, 1), 'cumsum'),
    (lambda x: jax.lax.scan(lambda c, y: (c + y, y), x[0], x)[0], 'a carry'),
    (
      lambda x: jax.lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x),
      'while',
    ),
    (lambda x: jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x), 'cond'),
    (lambda x: conv(x, x[0, :3, :3, :, None]), 'a convolution with what'),
  ],
)
def test_what_is_not_known_is_named(function, told):
  with pytest.raises(NotImplementedError, match=told):
    session(function, jax.ShapeDtypeStruct((1, 6, 8, 3), jnp.float32))


def test_the_opset_is_what_the_page_says():
  _, model = session(jnp.exp, jax.ShapeDtypeStruct((1, 2, 2, 1), jnp.float32))
  assert [each.version for each in model.opset_import] == [18]
  onnx.checker.check_model(model, full_check=True)
