"""TensorBoard's events: one curve after a restart, and a disk that is full."""

import resource
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing import plugin_event_accumulator

from jaxuda.training.events import Events


def write(folder, start, first, last):
  """Write a number for each step, as a training that is killed then."""
  events = Events(folder, just_logging=False)
  if start:
    time.sleep(1.1)  # files are read in the order of their seconds
  events.start(start)
  for step in range(first, last + 1):
    events.scalars(step, {'loss/a': float(step)})
  events.images(last, {'panels': np.zeros((1, 2, 2, 3), np.uint8)})
  events.flush()
  return events


def curve(folder, tag='loss/a'):
  found = plugin_event_accumulator.EventAccumulator(
    str(folder), size_guidance={plugin_event_accumulator.TENSORS: 0}
  )
  found.Reload()
  return [event.step for event in found.Tensors(tag)]


def test_one_curve_after_two_restarts(tmp_path):
  write(tmp_path, 0, 0, 7)
  write(tmp_path, 5, 6, 9)
  assert curve(tmp_path) == list(range(10))
  write(tmp_path, 3, 4, 12).close()
  assert curve(tmp_path) == list(range(13))
  assert curve(tmp_path, 'panels') == [12]


@pytest.mark.slow
def test_a_full_disk_is_told_once(tmp_path, capfd):
  """A limit on the size of a file stands in for it; then there is room."""
  events = write(tmp_path, 0, 1, 3)
  limit = resource.getrlimit(resource.RLIMIT_FSIZE)
  [file] = tmp_path.glob('*.v2')
  resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, limit[1]))
  try:
    for step in range(4, 30):
      events.scalars(step, {'loss/a': float(step)})
      events.flush()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
  said = capfd.readouterr().out
  assert said.count('TensorBoard events cannot be written (') == 1
  assert events.failed > 0
  events.scalars(30, {'loss/a': 30.0})
  events.close()
  assert (
    f'what {events.failed} writes could not write' in capfd.readouterr().out
  )
  steps = curve(tmp_path)
  assert steps[:3] == [1, 2, 3] and steps[-1] == 30
  assert steps == sorted({*steps})
