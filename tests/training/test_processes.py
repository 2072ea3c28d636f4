"""Two processes, as on two hosts, continue a run that one has begun."""

import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny
import tiny_runs

from jaxuda import experiment
from jaxuda.evaluation import figure_writer
from jaxuda.evaluation import scores as scores_lib
from jaxuda.input import from_config
from jaxuda.utils import metrics_csv

pytestmark = pytest.mark.slow

# Command lines of one process, one after the other.
PROCESS = """
import json, sys
from jaxuda import main
for arguments in json.loads(sys.argv[1]):
  status = main.main(['main', *arguments])
sys.exit(status)
"""

# A process that is killed when step 9 is due.
DYING = """
import os, signal
from jaxuda import main, train
from jaxuda.utils import cli
class StopSignal(train.signals.StopSignal):
  def requested_at(self, step):
    if step == 9 and {dies}:
      os.kill(os.getpid(), signal.SIGKILL)
    return super().requested_at(step)
train.signals.StopSignal = StopSignal
import sys
cli.run_cli(main.main, ['main', *sys.argv[1:]])
"""


def start(code: str, *arguments: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-c', code, *arguments],
    cwd=tiny.ROOT,
    env=os.environ | {'PYTHONPATH': str(tiny.ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def copy_back_to(step: int, finished, path):
  """Copy a finished run as it was after a step's checkpoint."""
  shutil.copytree(finished.workdir, path)
  (path / 'scores.json').unlink()
  for later in (path / 'checkpoints').iterdir():
    if later.name.isdigit() and int(later.name) > step:
      shutil.rmtree(later)
  return path


def last_losses(path) -> dict[str, float]:
  """Return what step 9 measured."""
  rows = metrics_csv.read_metrics(path / 'metrics.csv')
  [row] = [r for r in rows if r['step'] == 9 and 'loss/seg_source_main' in r]
  return {k: v for k, v in row.items() if k.startswith('loss/')}


@pytest.fixture(scope='module')
def survived(finished_run, streets_data, tmp_path_factory):
  """A run whose second process died, what was said, and who continued it."""
  path = tmp_path_factory.mktemp('processes') / 'run'
  copy_back_to(8, finished_run, path)
  port = tiny_runs.free_port()
  arguments = tiny_runs.command(path, streets_data, 'log_every=1')
  children = [
    start(
      DYING.format(dies=rank == 1), *arguments, *tiny_runs.joined(rank, port)
    )
    for rank in (0, 1)
  ]
  ends = [(c.communicate(timeout=150), c.returncode) for c in children]
  assert not (path / 'scores.json').exists()
  assert tiny_runs.run(*arguments) == 0
  return path, ends


def test_a_process_that_dies(survived):
  """The other one ends, with a sentence; then one alone continues."""
  path, [((said, complaint), code), (_, killed)] = survived
  assert killed == -signal.SIGKILL
  assert code == 2, said + complaint
  assert 'error: process 0 has lost another process of this run' in complaint
  assert tiny_runs.state(path)['step'] == 9


def test_two_processes_score_and_continue_a_run(
  finished_run, streets_data, survived, tmp_path
):
  """The same counts of the same weights; the same step as one process."""
  scored = copy_back_to(9, finished_run, tmp_path / 'scored')
  trained = copy_back_to(8, finished_run, tmp_path / 'trained')
  port = tiny_runs.free_port()
  children = []
  for rank in (0, 1):
    lines = [
      tiny_runs.command(path, streets_data, 'log_every=1', 'num_log_images=2')
      for path in (scored, trained)
    ]
    lines[0] += tiny_runs.joined(rank, port)
    children.append(start(PROCESS, json.dumps(lines)))
  (said, complaints), (other, its) = (
    c.communicate(timeout=400) for c in children
  )
  assert [c.returncode for c in children] == [0, 0], complaints + its
  assert 'continuing at step 8' in said and '2 process(es)' in said
  assert 'continuing' not in other and 'IoU' not in other

  before, found, after = (
    json.loads((folder / 'scores.json').read_text())
    for folder in (finished_run.workdir, scored, trained)
  )
  assert found['images'] == after['images'] == 3
  assert found['confusion'] == before['confusion']
  counts, wanted = np.array(after['confusion']), np.array(before['confusion'])
  np.testing.assert_array_equal(counts.sum(1), wanted.sum(1))
  alone, together = last_losses(survived[0]), last_losses(trained)
  assert len(alone) == 3 and together == pytest.approx(alone, rel=1e-4)
  assert tiny_runs.state(trained)['step'] == 9
  assert len(list((trained / 'figures').glob('*.png'))) == 3


@pytest.mark.parametrize(('process', 'count'), [(0, 5), (1, 0)])
def test_the_first_process_writes(
  process, count, finished_run, tmp_path, monkeypatch
):
  run = experiment.load(finished_run.workdir)
  scores = json.loads((finished_run.workdir / 'scores.json').read_text())
  records = from_config.open_eval(run.config)
  monkeypatch.setattr(jax, 'process_index', lambda: process)
  scores_lib.write(tmp_path / 'scores.json', scores)
  figure_writer.FigureWriter(run.config, run.net, records).draw(
    tmp_path,
    None,
    {'run': (run.params, run.batch_stats)},
    scores_lib.from_json(scores),
  )
  assert len(list(tmp_path.iterdir())) == count
