"""A second start compiles nothing."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest
import tiny
import tiny_runs

from jaxuda.utils import compile_cache

CONFIG = 'configs/source_only.py:streets,encoder=resnet'
MISS = 'PERSISTENT COMPILATION CACHE MISS'


def train(workdir, streets_data, caches) -> str:
  """Train in a process of its own; return what jax says about its cache."""
  settings = tiny_runs.command(
    workdir, streets_data, 'steps=2', 'log_every=1', config=CONFIG
  )
  ours = {
    'XDG_CACHE_HOME': str(caches),
    'JAX_DEBUG_LOG_MODULES': 'jax._src.compiler',
  }
  inherited = {
    k: v
    for k, v in os.environ.items()
    if 'COMPILATION_CACHE' not in k and 'PERSISTENT_CACHE' not in k
  }
  done = subprocess.run(
    [sys.executable, '-m', 'jaxuda.main', *settings],
    cwd=tiny.ROOT,
    env=inherited | ours,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  return done.stderr


@pytest.mark.slow
def test_a_second_start_compiles_nothing(streets_data, tmp_path):
  first = train(tmp_path / 'one', streets_data, tmp_path)
  assert MISS in first and 'jit_train_step' in first
  [folder] = (tmp_path / 'jaxuda').iterdir()
  assert any(path.name.startswith('jit_') for path in folder.iterdir())
  second = train(tmp_path / 'two', streets_data, tmp_path)
  assert 'cache hit' in second
  misses = [line for line in second.splitlines() if MISS in line]
  assert not misses


@pytest.fixture
def restored():
  names = (
    'jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs'
  )  # fmt: skip
  before = {name: jax.config.values[name] for name in names}
  yield
  for name, value in before.items():
    jax.config.update(name, value)


def test_where_it_lies(restored, monkeypatch, tmp_path):
  """The user's folder, else ours; none where ours cannot be."""
  before = jax.config.jax_compilation_cache_dir
  compile_cache.enable()
  assert jax.config.jax_compilation_cache_dir == before is not None
  jax.config.update('jax_compilation_cache_dir', None)
  (tmp_path / 'file').touch()
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
  compile_cache.enable()
  assert jax.config.jax_compilation_cache_dir is None
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  compile_cache.enable()
  found = pathlib.Path(jax.config.jax_compilation_cache_dir)
  assert found.parent == tmp_path / 'jaxuda' and found.is_dir()
