"""The cache of compiled programs on disk: a second start compiles nothing."""

import os
import pathlib
import platform
import zlib

import jax


def enable() -> None:
  """Turn jax's persistent compilation cache on, unless the user has.

  It lies in $JAX_COMPILATION_CACHE_DIR, or in ~/.cache/jaxuda, which has a
  folder for each kind of machine that shares the home. Where it cannot be
  written, every start compiles.
  """
  if jax.config.jax_compilation_cache_dir is None:
    folder = _folder()
    try:
      folder.mkdir(parents=True, exist_ok=True)
    except OSError:
      return
    if not os.access(folder, os.W_OK):
      return
    jax.config.update('jax_compilation_cache_dir', str(folder))
  name = 'jax_persistent_cache_min_compile_time_secs'
  if name.upper() not in os.environ:
    jax.config.update(name, 0.0)  # small programs, too


def _folder() -> pathlib.Path:
  caches = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(caches) / 'jaxuda' / f'{platform.machine()}-{_features()}'


def _features() -> str:
  """Return a checksum of this machine's instructions."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:
    lines = []
  flags = [x for x in lines if x.startswith(('flags', 'Features'))]
  found = flags[0] if flags else platform.processor()
  return f'{zlib.crc32(found.encode()):08x}'
