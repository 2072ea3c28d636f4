"""Freed memory is kept, garbage looked for rarely, what cannot fit refused."""

import subprocess
import sys

import psutil
import pytest

from jaxuda.utils import memory
from jaxuda.utils.errors import UserError

PROGRAM = """
import resource
from jaxuda.utils import memory
{call}
def faults():
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
size = 50 << 20
block = bytearray(size); del block
before = faults()
for _ in range(10):
  block = bytearray(b'x') * size
  del block
print(faults() - before)
"""


def faults(call, **environment):
  found = subprocess.run(
    [sys.executable, '-c', PROGRAM.format(call=call)],
    capture_output=True,
    text=True,
    check=True,
    env={'JAX_PLATFORMS': 'cpu', **environment},
  )
  return int(found.stdout)


@pytest.mark.skipif(sys.platform != 'linux', reason='of glibc')
def test_pages_are_cleared_once():
  pages = (50 << 20) // 4096
  assert faults('memory.keep_freed()') < 2 * pages
  assert faults('') > 8 * pages  # what glibc does by itself


@pytest.mark.skipif(sys.platform != 'linux', reason='of glibc')
def test_whoever_has_set_glibcs_variables_has_their_way():
  call = 'assert not memory.keep_freed()'
  pages = (50 << 20) // 4096
  assert faults(call, MALLOC_ARENA_MAX='4') > 8 * pages


def test_a_command_looks_for_garbage_rarely():
  """Python's own 700 would be a hundred times for as many new objects."""
  program = """
import gc
from jaxuda.utils import cli
def main():
  looked = lambda: sum(each['collections'] for each in gc.get_stats())
  before = looked()
  kept = [[] for _ in range(100_000)]
  print(looked() - before)
cli.run_cli(main)
"""
  said = subprocess.run([sys.executable, '-c', program], capture_output=True)
  assert int(said.stdout) <= 1


def test_what_does_not_fit():
  """What a 30,000 x 30,000 image takes at least, by hand: 211 GiB."""
  memory.check_fits('size', (512, 1024), 2, 19)
  memory.check_fits('size', None, 1, 19)
  with pytest.raises(UserError) as caught:
    memory.check_fits('config.eval.size', (30_000, 30_000), 1, 19)
  said = str(caught.value)
  assert said.startswith('config.eval.size=(30000, 30000) would take 211 GiB')
  there = psutil.virtual_memory().available / 2**30
  found = float(said.partition('and ')[2].split()[0])
  assert abs(found - there) < 2
