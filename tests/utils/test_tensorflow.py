"""TensorFlow starts without what no input asks for."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from jaxuda.utils import tensorflow
tf = tensorflow.import_tensorflow()
print('keras' in sys.modules, os.environ.get('TF_USE_LEGACY_KERAS'))
print(tf.keras.layers.Dense.__module__)
"""


@pytest.mark.slow
def test_keras_is_imported_where_it_is_used():
  """By a program of a user's own, which finds it as it always is."""
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM],
    env={k: v for k, v in os.environ.items() if 'KERAS' not in k},
    capture_output=True,
    text=True,
  )
  assert done.stdout.splitlines() == [
    'False None',
    'keras.src.layers.core.dense',
  ], done.stderr
