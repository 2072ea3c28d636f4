"""Command lines: quick answers, sentences instead of tracebacks."""

import os
import resource
import subprocess
import sys

import pytest
import tiny

CONFIG = 'configs/advent_patch.py'
HEAVY = ('tensorflow', 'tensorflow_datasets', 'orbax', 'clu', 'tensorboard')

# What runs on machines that have jax, flax and optax, and no more.
CORE = (
  'step', 'state', 'losses', 'optim', 'metrics', 'labels', 'methods',
  *(f'methods.{name}' for name in tiny.all_methods()),
  'models.segmenter', 'models.discriminators', 'models.ensemble',
  'models.resnet18', 'models.encoders.resnet', 'models.encoders.vgg16',
  'models.decoders.deeplab_v2', 'config', 'config.defaults',
  'utils.errors', 'utils.settings', 'utils.sharding',
)  # fmt: skip


def python(*arguments, cwd):
  """Run python with the project on its path.

  Returns:
    What it printed, and the seconds that it computed: those of the clock depend
    on what else the machine does.
  """

  def seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

  start = seconds()
  done = subprocess.run(
    [sys.executable, *arguments],
    cwd=cwd,
    env=os.environ | {'PYTHONPATH': str(tiny.ROOT)},
    capture_output=True,
    text=True,
    timeout=100,
  )
  return done, seconds() - start


def imported(stderr):
  """Return the top-level packages in what `-X importtime` wrote."""
  lines = [x for x in stderr.splitlines() if x.startswith('import time:')]
  return {line.rpartition('|')[2].strip().partition('.')[0] for line in lines}


def test_core_rooms_need_neither_tensorflow_nor_orbax(tmp_path):
  code = '\n'.join([
    'import sys',
    f'for name in {HEAVY}: sys.modules[name] = None',
    *(f'import jaxuda.{name}' for name in CORE),
  ])  # fmt: skip
  done, _ = python('-c', code, cwd=tmp_path)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
  'tool', ['main', 'evaluate', 'predict', 'export', 'pseudo_label', 'weights']
)
def test_help(tool, tmp_path):
  arguments = ('-X', 'importtime', '-m', f'jaxuda.{tool}', '--help')
  done, seconds = python(*arguments, cwd=tmp_path)
  assert seconds < 3  # of the processor; jax alone takes one
  assert done.returncode == 0
  assert f'python -m jaxuda.{tool}' in done.stdout
  assert '--workdir' in done.stdout
  assert not imported(done.stderr) & set(HEAVY)
  assert {'absl', 'jaxuda'} <= imported(done.stderr)
  assert not list(tmp_path.iterdir())


def test_distributed_where_there_is_no_cluster(tmp_path):
  done, _ = python(
    '-m',
    'jaxuda.main',
    f'--config={CONFIG}:streets',
    '--distributed',
    cwd=tmp_path,
  )
  assert done.returncode == 2
  [line] = done.stderr.splitlines()
  assert line.startswith('error: --distributed found no hosts to join (')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('arguments', 'sentence'),
  [
    ([], '--config=configs/NAME.py is needed'),
    (['--cnfig=x.py'], "Unknown command line flag 'cnfig'"),
    (['--config.steps=3'], '--config.steps=3 needs --config=configs/NAME.py'),
    (['--config=nowhere.py'], "config file 'nowhere.py' does not exist"),
    ([f'--config={CONFIG}', 'more'], "unexpected argument 'more'"),
    ([f'--config={CONFIG}:strets'], "did you mean 'streets'?"),
    ([f'--config={CONFIG}', '--config.step=3'], "did you mean 'steps'?"),
    ([f'--config={CONFIG}', '--config.optim.lr=fast'], 'optim.lr takes float'),
  ],
)
def test_a_wrong_command_line_is_one_sentence(arguments, sentence, tmp_path):
  command = ('-X', 'importtime', '-m', 'jaxuda.main', *arguments)
  done, seconds = python(*command, cwd=tmp_path)
  assert done.returncode == 2 and done.stdout == ''
  lines = done.stderr.splitlines()
  said = [x for x in lines if not x.startswith('import time:')]
  assert len(said) == 1 and said[0].startswith('error: ')
  assert sentence in said[0]
  found = imported(done.stderr)
  assert not found & set(HEAVY)
  # A config takes its method's settings, and so imports jax.
  assert ('jax' in found) <= (f'--config={CONFIG}' in ' '.join(arguments))
  assert seconds < 3  # of the processor; jax alone takes one
  assert not list(tmp_path.iterdir())
