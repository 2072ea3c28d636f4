"""Freed memory is kept: the kernel clears its pages once."""

import subprocess
import sys

import pytest

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
