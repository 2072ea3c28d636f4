"""The one door to TensorFlow: it reads data and never sees an accelerator."""

import functools
import os
import types


@functools.cache
def import_tensorflow() -> types.ModuleType:
  """Import TensorFlow with its GPUs hidden; takes seconds the first time."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  # Only announces itself, twice, on every start; no input op uses it.
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
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
