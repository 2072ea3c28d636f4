"""What holds for the whole suite: the CPU, and one cache of compiled code."""

import gc
import os
import shutil
import signal
import tempfile

import pytest

# Set before jax is imported, and inherited by the processes that tests start.
# Many tests compile the same training step; the first one pays for it.
_IS_WORKER = 'PYTEST_XDIST_WORKER' in os.environ
if not _IS_WORKER:
  os.environ['JAX_COMPILATION_CACHE_DIR'] = tempfile.mkdtemp(prefix='jaxuda-')
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.5'
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Both halve the time of compiling, which is the long part: what is compiled
# here runs a few times. tests/models compiles as users do.
os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'
NO_FUSION = '--xla_cpu_use_fusion_emitters=false'
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {NO_FUSION}'
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

# All that the suite compiles stays, and would be gone through again and again.
gc.set_threshold(200_000, 50, 50)

# What is started by `&` ignores Ctrl-C, and so would what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

FAST = 'adaptsegnet'  # a method with both networks, which compiles quickly


def pytest_generate_tests(metafunc):
  """`method_config`: each method's; all tests of one follow one another.

  So it is traced and compiled once, by one of pytest's workers. One method is
  among the fast tests.
  """
  if 'method_config' in metafunc.fixturenames:
    import tiny

    configs = [
      pytest.param(name, marks=() if name == FAST else pytest.mark.slow)
      for name in tiny.all_methods()
    ]
    metafunc.parametrize('method_config', configs, scope='session')


def pytest_unconfigure():
  if not _IS_WORKER:
    shutil.rmtree(os.environ['JAX_COMPILATION_CACHE_DIR'], ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_signals():
  """A command that a test calls in this process leaves its handlers behind."""
  numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
  before = [signal.getsignal(number) for number in numbers]
  yield
  for number, handler in zip(numbers, before, strict=True):
    signal.signal(number, handler)


@pytest.fixture(scope='session')
def streets_data(tmp_path_factory):
  """A folder of prepared data: a few scenes of streets."""
  import tiny_runs

  folder = tmp_path_factory.mktemp('streets')
  tiny_runs.prepare(folder)
  return folder


@pytest.fixture(scope='session')
def finished_run(streets_data, tmp_path_factory):
  """A tiny run from start to end, not to be changed."""
  import tiny_runs

  workdir = tmp_path_factory.mktemp('runs') / 'run'
  return tiny_runs.finish(workdir, streets_data)
