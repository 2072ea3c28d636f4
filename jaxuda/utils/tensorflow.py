"""The one door to TensorFlow: it reads data and never sees an accelerator."""

import contextlib
import functools
import os
import types
from collections.abc import Iterator


@functools.cache
def import_tensorflow() -> types.ModuleType:
  """Import TensorFlow with its GPUs hidden; takes seconds the first time."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  # Only announces itself, twice, on every start; no input op uses it.
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
  with _without_keras():
    import tensorflow as tf

  # Visible, TensorFlow would take the memory that JAX needs.
  tf.config.set_visible_devices([], 'GPU')
  return tf


@functools.cache
def import_tfds() -> types.ModuleType:
  """Import TensorFlow Datasets, without its progress bars."""
  import_tensorflow()
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()
  return tfds


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
  """Have TensorFlow import Keras where it is used, and not at once.

  Nothing here uses it, and it takes long, with matplotlib. TensorFlow asks the
  variable again when `tf.keras` is first used: that stays what it was.
  """
  name = 'TF_USE_LEGACY_KERAS'
  before = os.environ.get(name)
  os.environ[name] = '1'
  try:
    yield
  finally:
    if before is None:
      del os.environ[name]
    else:
      os.environ[name] = before
