"""Whole training runs that take seconds: few small scenes, a tiny network."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny

from jaxuda import checkpoints, experiment, main, train
from jaxuda import config as config_lib
from jaxuda import state as state_lib
from jaxuda.checkpoints import reader
from jaxuda.datasets import prepare as prepare_lib
from jaxuda.datasets import specs
from jaxuda.utils import signals

SIZE = (32, 64)
CONFIG = 'tests/helpers/staged.py'

# Logs, evaluations and checkpoints in rhythms that do not divide one another.
SETTINGS = (
  'steps=9',
  'log_every=2',
  'eval_every=4',
  'checkpoint_every=5',
  'num_log_images=0',
  'num_unlabelled_images=2',
  'source.size=32x64',
  'target.size=32x64',
  'eval.size=32x64',
  'source.batch_size=2',
  'target.batch_size=2',
  'eval.batch_size=2',
  'model.encoder.blocks=(1,1,1,1)',
  'model.encoder.width=4',
  'discriminator.width=4',
  'patch.size=32',
  # Not a function of `steps`, so that one compilation serves.
  'optim.decay_steps=100',
)


@dataclasses.dataclass(frozen=True)
class Finished:
  """A run that was not interrupted, and what it printed."""

  workdir: pathlib.Path
  said: str


def prepare(data_dir: pathlib.Path) -> None:
  """Prepare a few scenes of streets, as training does by itself."""
  with pytest.MonkeyPatch.context() as patch:
    streets = specs.module('streets')
    patch.setattr(streets, 'COUNTS', {'train': 6, 'val': 3})
    for spec in ('streets/game', 'streets/city'):
      prepare_lib.ensure(spec, SIZE, data_dir)


def command(
  workdir: pathlib.Path,
  data_dir: pathlib.Path,
  *more: str,
  config: str = CONFIG,
  stages: bool = False,
) -> list[str]:
  """Return the arguments of jaxuda.main.

  Args:
    workdir, data_dir: of the run.
    more: further KEY=VALUE overrides.
    config: a config file, with its argument.
    stages: whether the run has the stages of its config, as small as itself;
      without, it starts from nothing.
  """
  given = {override.partition('=')[0] for override in more}
  settings = [f'data_dir={data_dir}', *more]
  settings += [
    setting
    for setting in small(config, stages)
    if setting.partition('=')[0] not in given
  ]
  flags = [f'--config.{setting}' for setting in settings]
  return [f'--config={config}', f'--workdir={workdir}', *flags]


def small(config: str = CONFIG, stages: bool = False) -> list[str]:
  """Return SETTINGS as far as a config has them, KEY=VALUE; see `command`."""
  keys = config_lib.flatten(config_lib.load(config))
  found = [] if stages else ['init_stage=None']
  for setting in SETTINGS:
    key, _, value = setting.partition('=')
    found += [
      f'{k}={value}'
      for k in keys
      if k == key or (stages and k.endswith(f'_stage.{key}'))
    ]
  return found


def run(*arguments, report: bool = False) -> int:
  """Call jaxuda.main's command line in this process; return the exit status.

  Args:
    arguments: of the command line.
    report: whether the run's page is written, which takes longer than the run.
  """
  with pytest.MonkeyPatch.context() as patch:
    if not report:
      patch.setattr(train, '_write_report', lambda workdir: None)
    return main.main(['main', *arguments])


def finish(workdir: pathlib.Path, data_dir: pathlib.Path) -> Finished:
  """Run an experiment from its start to its end, with figures and its page."""
  said = io.StringIO()
  with contextlib.redirect_stdout(said):
    arguments = command(workdir, data_dir, 'num_log_images=2')
    assert run(*arguments, report=True) == 0
  return Finished(workdir, said.getvalue())


@contextlib.contextmanager
def signalled_at(*steps: int):
  """Send this process a SIGTERM at each of these steps, once."""
  left = list(steps)

  class StopSignal(signals.StopSignal):
    def requested_at(self, step):
      if left and step == left[0]:
        left.pop(0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert self._received.wait(60)
      return super().requested_at(step)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train.signals, 'StopSignal', StopSignal)
    yield
  assert not left


@contextlib.contextmanager
def signalled_in_evaluation(number: int):
  """Send this process a SIGTERM when its evaluation of that number begins.

  Each goes through images twice: the target's, then the source's.
  """
  begun = []

  class StopSignal(signals.StopSignal):
    def until_requested(self, items):
      if len(begun) == 2 * number:
        os.kill(os.getpid(), signal.SIGTERM)
        assert self._received.wait(60)
      begun.append(items)
      return super().until_requested(items)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train.signals, 'StopSignal', StopSignal)
    yield
  assert len(begun) == 2 * number + 1


@contextlib.contextmanager
def full_disk_from(step: int):
  """Let no file grow beyond 64 KiB once this step is saved: a full disk."""
  limit = resource.getrlimit(resource.RLIMIT_FSIZE)
  save = checkpoints.Checkpoints.save

  def save_on_full_disk(self, at, *args):
    self.wait()  # for the save before, which found room
    if at >= step:
      resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limit[1]))
    save(self, at, *args)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(checkpoints.Checkpoints, 'save', save_on_full_disk)
    try:
      yield
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def start(*arguments, cwd: pathlib.Path = tiny.ROOT) -> subprocess.Popen:
  """Start `python -m jaxuda.main` in a folder, with pipes from its output."""
  more = {'PYTHONUNBUFFERED': '1', 'PYTHONPATH': str(tiny.ROOT)}
  return subprocess.Popen(
    [sys.executable, '-m', 'jaxuda.main', *arguments],
    cwd=cwd,
    env=os.environ | more,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def joined(rank: int, port: int) -> list[str]:
  """Return the flags by which a process joins the other one."""
  there = f'--coordinator=localhost:{port}'
  return [there, '--num_processes=2', f'--process_id={rank}']


def free_port() -> int:
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return free.getsockname()[1]


def wait_for(child: subprocess.Popen, pattern: str) -> str:
  """Read a child's output up to the first line that matches; return that."""
  for line in child.stdout:
    if re.search(pattern, line):
      return line
  raise AssertionError(f'no {pattern!r}: {child.stderr.read()}')


def state(workdir: pathlib.Path) -> dict:
  """Return everything in the latest checkpoint of a run."""
  directory = workdir / 'checkpoints'
  folder = directory / str(checkpoints.steps(directory)[-1])
  return reader.read_arrays(folder, reader.read_manifest(folder)['leaves'])


def write_run(config, folder):
  """Write a run whose networks are random; return them."""
  shapes = state_lib.abstract(*experiment.build(config))
  rng = np.random.default_rng(0)

  def draw(leaf):
    if leaf.dtype == np.int32:
      return rng.integers(2**31, size=leaf.shape, dtype=np.int32)
    return rng.standard_normal(leaf.shape).astype(leaf.dtype)

  networks = {
    name: jax.tree.map(
      draw, {'params': network.params, 'batch_stats': network.batch_stats}
    )
    for name in ('segmenter', 'discriminators', 'ema')
    if (network := getattr(shapes, name))
  }
  folder.mkdir()
  stored = json.dumps(config_lib.to_json(config))
  (folder / 'config.json').write_text(stored)
  with checkpoints.Checkpoints(folder / 'checkpoints') as manager:
    manager.save(3, networks)
  assert not manager.failed
  return networks
