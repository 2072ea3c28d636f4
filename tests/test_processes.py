"""Two processes, as on two hosts, continue a run that one has begun."""

import json
import os
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny
import tiny_runs

from jaxuda import figures, runs, workdir
from jaxuda import scores as scores_lib
from jaxuda.input import experiment

PROCESS = """
import sys
import jax
from jaxuda import main

rank, port, *arguments = sys.argv[1:]
jax.distributed.initialize(f'localhost:{port}', 2, int(rank))
sys.exit(main.main(['main', *arguments]))
"""


def test_two_processes_continue_a_run(finished_run, streets_data, tmp_path):
  path = shutil.copytree(finished_run.workdir, tmp_path / 'run')
  shutil.rmtree(path / 'checkpoints' / '9')
  (path / 'scores.json').unlink()
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  with tiny_runs.quick_compiles():
    children = [
      subprocess.Popen(
        [sys.executable, '-c', PROCESS, str(rank), str(port),
         *tiny_runs.command(path, streets_data)],
        cwd=tiny.ROOT,
        env=os.environ | {'PYTHONPATH': str(tiny.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
      for rank in (0, 1)
    ]  # fmt: skip
  (said, complaints), (other, its) = (
    c.communicate(timeout=400) for c in children
  )
  assert [c.returncode for c in children] == [0, 0], complaints + its
  assert 'continuing at step 8' in said and '2 process(es)' in said
  assert 'continuing' not in other and 'IoU' not in other

  found, expected = (
    json.loads((folder / 'scores.json').read_text())
    for folder in (path, finished_run.workdir)
  )
  assert found['images'] == 3
  counts, wanted = np.array(found['confusion']), np.array(expected['confusion'])
  np.testing.assert_array_equal(counts.sum(1), wanted.sum(1))
  rows, before = (
    workdir.read_metrics(folder / 'metrics.csv')
    for folder in (path, finished_run.workdir)
  )
  assert str(rows[:-1]) == str(before[:-1])  # as text, NaN is NaN
  assert rows[-1]['step'] == 9 and 'eval_mIoU' in rows[-1]
  assert tiny_runs.state(path)['step'] == 9
  assert len(list((path / 'figures').glob('*.png'))) == 3


@pytest.mark.parametrize(('process', 'files'), [(0, 4), (1, 0)])
def test_the_first_process_writes(
  process, files, finished_run, tmp_path, monkeypatch
):
  run = runs.load(finished_run.workdir)
  scores = json.loads((finished_run.workdir / 'scores.json').read_text())
  records = experiment.open_eval(run.config)
  monkeypatch.setattr(jax, 'process_index', lambda: process)
  scores_lib.write_json(tmp_path / 'scores.json', scores)
  with tiny_runs.quick_compiles():
    figures.Painter(run.config, run.net, records).draw(
      tmp_path,
      None,
      {'run': (run.params, run.batch_stats)},
      scores_lib.from_json(scores),
    )
  assert len(list(tmp_path.iterdir())) == files
