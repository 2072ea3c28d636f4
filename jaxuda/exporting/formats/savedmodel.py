"""TensorFlow's SavedModel by jax2tf: XLA's program inside of one operator."""

import pathlib
from collections.abc import Callable

import jax

from jaxuda.exporting import program as program_lib
from jaxuda.exporting.program import Program
from jaxuda.utils import tensorflow as tf_lib

FILE = 'saved_model'
DTYPES = ('float32', 'bfloat16')
_SIGNATURE = 'serving_default'


def write(program: Program, path: pathlib.Path) -> None:
  """Write the folder, the network's weights as its variables."""
  tf = tf_lib.import_tensorflow()
  from jax.experimental import jax2tf  # which imports TensorFlow, too

  converted = jax2tf.convert(
    program.on_each_platform,
    polymorphic_shapes=[None, None if program.size else '(1, h, w, 3)'],
    polymorphic_constraints=program_lib.LEAST,
    with_gradient=False,
    native_serialization_platforms=program_lib.PLATFORMS,
  )
  module = tf.Module()
  variables = jax.tree.map(tf.Variable, program.variables)
  module.weights = jax.tree.leaves(variables)  # all that a module keeps
  sides = program.size or (None, None)
  image = tf.TensorSpec((1, *sides, 3), tf.uint8, program_lib.IMAGE)
  module.predict = tf.function(
    lambda image: converted(variables, image),
    input_signature=[image],
    autograph=False,
  )
  tf.saved_model.save(module, path, {_SIGNATURE: module.predict})


def load(path: pathlib.Path) -> Callable:
  """Return the folder's function."""
  tf = tf_lib.import_tensorflow()
  module = tf.saved_model.load(path)

  def outputs(image):
    found = module.signatures[_SIGNATURE](image=tf.constant(image))
    return {name: tensor.numpy() for name, tensor in found.items()}

  return outputs
