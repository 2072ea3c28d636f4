"""The benchmarks' command lines, from start to JSON, with a tiny network."""

import importlib
import json
import os
import re
import subprocess
import sys

import pytest
import tiny

from benchmarks.perf import start
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow

SMALL = [
  '--config=configs/adabn.py',  # one network, and both streams
  '--config.model.encoder.blocks=(1,1,1,1)',
  '--config.model.encoder.width=4',
  '--config.model.decoder.multi_level=False',
  '--config.source.size=64x96',
  '--config.target.size=48x80',
]
COMMANDS = [
  'perf.accelerator',
  *('perf.evaluation', 'perf.hours', 'perf.input', 'perf.memory'),
  *('perf.profile', 'perf.scaling', 'perf.scaling_model', 'perf.start'),
  'perf.train_step',
  *('tables.measure', 'tables.figures', 'tables.label_free'),
]


@pytest.fixture
def run(capsys):
  """Runs a benchmark, which ends well; returns what it prints."""

  def run_main(name, *arguments):
    main = importlib.import_module(f'benchmarks.{name}').main
    assert main([name, *arguments]) == 0
    return capsys.readouterr().out

  return run_main


@pytest.mark.parametrize('name', COMMANDS)
def test_help(name, run):
  """The docstring, and each flag that it names."""
  said = run(name, '--help')
  doc = importlib.import_module(f'benchmarks.{name}').__doc__
  assert said.startswith(doc) and f'python -m benchmarks.{name}' in doc
  named = set(re.findall(r'--(\w+)', doc)) - {
    'xla_force_host_platform_device_count'
  }
  assert named and named <= set(
    re.findall(r'^ +--(?:\[no\])?(\w+):', said, re.M)
  )


def test_no_tensorflow():
  """What a step needs is measured where only jax is installed."""
  modules = [f'benchmarks.{name}' for name in COMMANDS if name != 'perf.input']
  heavy = {'tensorflow', 'tensorflow_datasets', 'clu', 'torch'}
  code = (
    f'import sys, {", ".join(modules)}; print({heavy} & sys.modules.keys())'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=tiny.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.stdout == 'set()\n', done.stdout + done.stderr


@pytest.mark.parametrize(
  ('name', 'argument', 'told'),
  [
    ('perf.memory', '--batches=a', '--batches takes whole numbers'),
    ('perf.memory', '--remat=maybe', '--remat=maybe takes False and True'),
    ('perf.scaling', '--config.optim.lrr=1', "no key 'optim.lrr'"),
    ('perf.start', '--rows=helf', '--rows=helf is none of help, refused'),
    ('perf.start', '--rounds=0', '--rounds=0: 0 is not a positive integer'),
    ('perf.start', '--rows=predict', 'needs the run of ten_steps'),
    ('perf.start', '--against=/', 'is no clone of jaxuda'),
    ('perf.hours', 'advent', "unexpected argument 'advent'"),
    ('perf.hours', '--configs=advnt', "did you mean 'configs/advent.py'"),
  ],
)
def test_a_refused_command_line(name, argument, told, run):
  """A sentence, and nothing is measured."""
  with pytest.raises(UserError, match=re.escape(told)):
    run(name, argument)


def stored(folder, name):
  """Return what it stored; the file says where it was measured."""
  result = json.loads((folder / f'{name}.json').read_text())
  assert result['device'] and result['versions']['jax'] and result['date']
  return result


def test_train_step(tmp_path, run):
  arguments = ['--rounds=2', '--forms=auto,plain', '--torch=', '--name=small']
  said = run('perf.train_step', *SMALL, *arguments, f'--output={tmp_path}')
  rows = stored(tmp_path, 'small')['rows']
  assert list(rows) == ['jaxuda auto', 'jaxuda plain']
  for row in rows.values():
    assert row['finite'] and len(row['all_s']) == 2
    assert row['images_per_s'] == pytest.approx(2 / row['step_s'], rel=1e-3)
    assert 0 < row['share_of_floor'] < 1
  assert rows['jaxuda auto']['times_first'] == 1
  assert 'jaxuda plain' in said and str(tmp_path / 'small.json') in said


def test_accelerator(tmp_path, run):
  """On the CPU, small: what fails is kept, and what is left is gone on with."""
  more = [s.removeprefix('--config.') for s in SMALL[1:]]
  arguments = [
    *('--experiments=advent', '--dtypes=float32', '--batches=1', '--torch='),
    *('--rounds=1', f'--output={tmp_path}', '--name=small'),
  ]
  planned = run('perf.accelerator', *arguments, '--plan').splitlines()
  assert planned[0] == 'advent, float32, batch 1, jaxuda auto'
  assert len(planned) == 1 + 2 + 5
  quoted = f'--more={";".join(more)}'
  said = run('perf.accelerator', *arguments, quoted, '--minutes=0.01')
  assert f'1/{len(planned)}  {planned[0]}' in said
  assert 'are left: start it again' in said
  rows = stored(tmp_path, 'small')['rows']
  assert rows[planned[0]]['finite'] and rows[planned[0]]['pipelined_s'] > 0
  failed = {'failed': 'status 1: out of memory'}
  rows = {key: failed for key in planned[1:]} | rows
  path = tmp_path / 'small.json'
  path.write_text(json.dumps(stored(tmp_path, 'small') | {'rows': rows}))
  said = run('perf.accelerator', *arguments, quoted)
  assert f'1/{len(planned)}' not in said and 'are left' not in said
  assert 'out of memory' in said and 'MFU' in said
  other = stored(tmp_path, 'small') | {'device': 'another'}
  path.write_text(json.dumps(other))
  with pytest.raises(UserError, match='is of another, and this is cpu: give'):
    run('perf.accelerator', *arguments, quoted)


def test_profile(tmp_path, run):
  said = run(
    'perf.profile', *SMALL, '--steps=1', '--top=5', f'--trace={tmp_path}'
  )
  rows = re.findall(r'^ *([\d.]+) +([\d.]+)% +\d+  \S.*$', said, re.M)
  total = float(re.search(r'([\d.]+) in all', said)[1])
  assert len(rows) == 5
  for milliseconds, share in rows:
    assert float(milliseconds) / total == pytest.approx(
      float(share) / 100, abs=2e-3
    )


def test_memory(tmp_path, run):
  wide = '--config.model.encoder.width=16'  # or it rounds to no operations
  arguments = [wide, '--batches=1', '--dtypes=float32', '--run']
  run('perf.memory', *SMALL, *arguments, f'--output={tmp_path}')
  rows = stored(tmp_path, 'memory')['rows']
  assert [row['remat'] for row in rows] == [False, True]
  for row in rows:  # the state is a part of the whole
    assert row['in_all_gib'] >= row['temporaries_gib'] > 0
    assert row['step_s'] > 0
  assert rows[1]['tflop'] > rows[0]['tflop'] > 0


def test_evaluation(tmp_path, run):
  arguments = ['--size=96x192', '--rounds=1', '--config.eval.size=48x96']
  run('perf.evaluation', *SMALL, *arguments, f'--output={tmp_path}')
  rates = stored(tmp_path, 'evaluation')['images_per_s']
  assert {'jaxuda', 'jaxuda, after the network'} <= set(rates)
  assert all(rate > 0 for rate in rates.values())


def test_scaling(tmp_path):
  """As a program, which finds two devices."""
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'benchmarks.perf.scaling', *SMALL),
      *('--batch=1', '--rounds=1', f'--output={tmp_path}'),
    ],
    cwd=tiny.ROOT,
    env=os.environ | tiny.virtual_devices(2),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  result = stored(tmp_path, 'scaling')
  assert [(r['devices'], r['batch']) for r in result['strong']] == [(1, 1)]
  rows = result['weak']
  assert [(r['devices'], r['batch']) for r in rows] == [(1, 1), (2, 2)]
  ratio = rows[1]['images_per_s'] / rows[0]['images_per_s'] / 2
  assert rows[1]['efficiency'] == pytest.approx(ratio, rel=0.01)


def test_start(tmp_path, run):
  arguments = ['--rows=help,refused', '--rounds=1', f'--against={tiny.ROOT}']
  run('perf.start', *arguments, f'--output={tmp_path}')
  found = stored(tmp_path, 'start')
  assert list(found['seconds_cold_then_warm']) == ['here', 'against']
  for name, rows in found['seconds_cold_then_warm'].items():
    assert list(rows) == ['help', 'refused']
    for row, (cold, warm) in rows.items():
      assert 0 < found['median_s'][name][row] == warm < 60 and cold > 0


def test_the_first_step_is_timed_where_it_is_logged(tmp_path):
  program = "import time; print('step 1/2  loss 3', flush=True); time.sleep(1)"
  (tmp_path / 'fake.py').write_text(program)
  first = start.seconds('first_step', ['fake'], tmp_path, tmp_path)
  whole = start.seconds('help', ['fake'], tmp_path, tmp_path)
  assert 0 < first < whole - 0.5
  with pytest.raises(UserError, match='refused ended with status 0: step 1/2'):
    start.seconds('refused', ['fake'], tmp_path, tmp_path)


def test_input(tmp_path, streets_data, run):
  arguments = ['--images=2', '--repeats=1', f'--data_dir={streets_data}']
  run('perf.input', *arguments, '--streets=32x64', f'--output={tmp_path}')
  result = stored(tmp_path, 'input')
  for row in result['images_per_core_second'].values():
    assert list(row) == ['read', '+ decode', '+ augment', 'all: batches']
    assert all(rate > 0 for rate in row.values())
  assert set(result['by_tfds']) == set(result['images_per_core_second'])
  for row in result['by_tfds'].values():
    assert row['data source'] > 0 and row['tf.data'] > 0
  assert set(result['times_originals']) == {
    'gta5 720x1280, PNG',
    'gta5 720x1280, JPEG',
  }
