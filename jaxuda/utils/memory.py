"""The memory that a step frees, kept for the next one."""

import ctypes
import importlib.util
import os
import pkgutil

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


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


def _has_accelerator() -> bool:
  if os.environ.get('JAX_PLATFORMS') == 'cpu':
    return False
  if importlib.util.find_spec('libtpu') is not None:
    return True
  plugins = importlib.util.find_spec('jax_plugins')
  where = plugins and plugins.submodule_search_locations
  return bool(where and list(pkgutil.iter_modules(where)))
