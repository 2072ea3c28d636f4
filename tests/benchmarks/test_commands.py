"""The benchmarks' command lines, from start to JSON, with a tiny network."""

import json
import os
import re
import subprocess
import sys

import pytest
import tiny

SMALL = [
  '--config.model.encoder.blocks=(1,1,1,1)',
  '--config.model.encoder.width=4',
  '--config.model.decoder.multi_level=False',
  '--config.discriminator.width=4',
  '--config.source.size=64x96',
  '--config.target.size=48x80',
]
# What is compiled here need not be fast.
QUICK = {'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}


def run(name, *arguments, **environment):
  """What a benchmark prints."""
  done = subprocess.run(
    [sys.executable, '-m', f'benchmarks.{name}', *arguments],
    cwd=tiny.ROOT,
    env=os.environ | QUICK | environment,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def stored(folder, name):
  """What it stored: the file is complete and says where it was measured."""
  result = json.loads((folder / f'{name}.json').read_text())
  assert result['device'] and result['versions']['jax'] and result['date']
  return result


def test_train_step(tmp_path):
  arguments = ['--rounds=2', '--forms=auto,plain', '--torch=', '--name=small']
  said = run('train_step', *SMALL, *arguments, f'--output={tmp_path}')
  rows = stored(tmp_path, 'small')['rows']
  assert list(rows) == ['jaxuda auto', 'jaxuda plain']
  for row in rows.values():
    assert row['finite'] and len(row['all_s']) == 2
    assert row['images_per_s'] == pytest.approx(2 / row['step_s'], rel=1e-3)
    assert 0 < row['share_of_floor'] < 1
  assert rows['jaxuda auto']['times_first'] == 1
  assert 'jaxuda plain' in said and str(tmp_path / 'small.json') in said


def test_profile(tmp_path):
  said = run('profile', *SMALL, '--steps=1', '--top=5', f'--trace={tmp_path}')
  rows = re.findall(r'^ *([\d.]+) +([\d.]+)% +\d+  \S.*$', said, re.M)
  total = float(re.search(r'([\d.]+) in all', said)[1])
  assert len(rows) == 5
  for milliseconds, share in rows:
    assert float(milliseconds) / total == pytest.approx(
      float(share) / 100, abs=2e-3
    )


def test_memory(tmp_path):
  arguments = ['--batches=1', '--dtypes=float32', '--run']
  run('memory', *SMALL, *arguments, f'--output={tmp_path}')
  rows = stored(tmp_path, 'memory')['rows']
  assert [row['remat'] for row in rows] == [False, True]
  for row in rows:  # the state is a part of the whole
    assert row['in_all_gib'] >= row['temporaries_gib'] > 0
    assert row['step_s'] > 0
  assert rows[1]['tflop'] > rows[0]['tflop'] > 0


def test_evaluation(tmp_path):
  arguments = ['--size=96x192', '--rounds=1', '--config.eval.size=48x96']
  run('evaluation', *SMALL, *arguments, f'--output={tmp_path}')
  rates = stored(tmp_path, 'evaluation')['images_per_s']
  assert {'jaxuda', 'jaxuda, after the network'} <= set(rates)
  assert all(rate > 0 for rate in rates.values())


def test_scaling(tmp_path):
  run(
    'scaling',
    *SMALL,
    '--batch=1',
    '--rounds=1',
    f'--output={tmp_path}',
    **tiny.virtual_devices(2),
  )
  result = stored(tmp_path, 'scaling')
  assert [(r['devices'], r['batch']) for r in result['strong']] == [(1, 1)]
  rows = result['weak']
  assert [(r['devices'], r['batch']) for r in rows] == [(1, 1), (2, 2)]
  ratio = rows[1]['images_per_s'] / rows[0]['images_per_s'] / 2
  assert rows[1]['efficiency'] == pytest.approx(ratio, rel=0.01)


def test_input(tmp_path, streets_data):
  arguments = ['--images=2', '--repeats=1', f'--data_dir={streets_data}']
  run('input', *arguments, '--streets=32x64', f'--output={tmp_path}')
  result = stored(tmp_path, 'input')
  for row in result['images_per_core_second'].values():
    assert list(row) == ['read', '+ decode', '+ augment', 'all: batches']
    assert all(rate > 0 for rate in row.values())
  assert set(result['times_originals']) == {
    'gta5 720x1280, PNG',
    'gta5 720x1280, JPEG',
  }
