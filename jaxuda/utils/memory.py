"""Memory: what a step frees is kept, garbage looked for rarely; what fits."""

import ctypes
import gc
import importlib.util
import math
import os
import pkgutil
from collections.abc import Sequence

from jaxuda.utils.errors import UserError

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8

# Of a pixel that a network sees, at the very least: the image in float32 and a
# few features, and the logits of a class, enlarged and once more.
_PIXEL_BYTES, _CLASS_BYTES = 100, 8


def check_fits(
  name: str, size: Sequence[int] | None, batch_size: int, classes: int
) -> None:
  """Refuse images for which this machine has too little memory.

  It is asked before the hours that a machine takes to find out, or its kernel
  to end the process without a word. An accelerator's own memory is not asked.

  Args:
    name: what chose the size, for the message.
    size: (height, width) that the network sees; None for images' own.
    batch_size: how many images at once.
    classes: of the logits.

  Raises:
    UserError: says how much there is, and how much would be needed.
  """
  import jax
  import psutil

  if size is None or jax.default_backend() != 'cpu':
    return
  pixels = math.prod(size) * batch_size
  needed = pixels * (_PIXEL_BYTES + _CLASS_BYTES * classes)
  there = psutil.virtual_memory().available
  if needed > there:
    many = f' times {batch_size} images' if batch_size > 1 else ''
    raise UserError(
      f'{name}={tuple(size)}{many} would take {needed / 2**30:,.0f} GiB of '
      f'memory or more, and {there / 2**30:,.1f} GiB are available: choose a '
      'smaller one.'
    )


def keep_freed() -> bool:
  """Have glibc keep what is freed, where the CPU trains; say whether it does.

  XLA allocates the buffers of a compiled step at its start, and frees them at
  its end. glibc gives blocks of that size back to the kernel, which clears each
  of their pages when the next step asks (benchmarks/README.md).

  It has to be called before JAX or TensorFlow have started threads, which would
  allocate from arenas of their own. Where an accelerator's plugin is installed,
  the host's threads keep these arenas; and whoever has set glibc's own
  variables, MALLOC_* or GLIBC_TUNABLES, has their way.
  """
  if _has_accelerator() or any(
    name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES'
    for name in os.environ
  ):
    return False
  try:
    set_option = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError, TypeError):  # not glibc
    return False
  options = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
  return all([set_option(*option) for option in options])


def collect_rarely() -> None:
  """Have Python look for cycles of garbage every 200,000 new objects.

  A step that is traced, and the modules of TensorFlow and JAX, are millions of
  objects that stay, through which Python would go at every 700 new ones
  (benchmarks/README.md).
  """
  gc.set_threshold(200_000, 50, 50)


def _has_accelerator() -> bool:
  if os.environ.get('JAX_PLATFORMS') == 'cpu':
    return False
  if importlib.util.find_spec('libtpu') is not None:
    return True
  plugins = importlib.util.find_spec('jax_plugins')
  where = plugins and plugins.submodule_search_locations
  return bool(where and list(pkgutil.iter_modules(where)))
