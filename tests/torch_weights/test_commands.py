"""The command lines around PyTorch files, on a finished run."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
import tiny
import tiny_runs

from jaxuda import experiment, weights
from jaxuda.torch_weights import export, published
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def exported(finished_run, tmp_path_factory):
  """The finished run's segmenter as a file; its discriminator beside it."""
  output = tmp_path_factory.mktemp('exported') / 'mine.safetensors'
  assert export.export(finished_run.workdir, output) == [
    output,
    output.with_name('mine_D_main.safetensors'),
  ]
  return output


def with_settings(streets_data, *more):
  values = [*tiny_runs.small(), f'data_dir={streets_data}', *more]
  return [f'--config={tiny_runs.CONFIG}', *(f'--config.{v}' for v in values)]


def test_evaluate_a_file_as_the_run_it_came_from(
  exported, finished_run, streets_data, tmp_path
):
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'jaxuda.evaluate', f'--weights={exported}'),
      *with_settings(streets_data),
      f'--workdir={tmp_path}',
    ],
    cwd=tiny.ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert 'mine.safetensors: deeplab: ' in done.stdout
  found, trained = (
    json.loads((folder / 'scores.json').read_text())
    for folder in (tmp_path / 'evaluation' / 'val-0', finished_run.workdir)
  )
  assert found['confusion'] == trained['confusion']
  assert found['means'] == trained['means']


def test_a_file_becomes_a_run(
  exported, finished_run, streets_data, tmp_path, capsys
):
  """Both networks, as they were; the optimizers start from zero, and train."""
  d_file = exported.with_name('mine_D_main.safetensors')
  arguments = [
    'weights',
    'import',
    str(exported),
    *with_settings(streets_data, f'discriminator.init=main={d_file}'),
    f'--workdir={tmp_path / "theirs"}',
  ]
  assert weights.main(arguments) == 0
  assert f'run: {tmp_path / "theirs"}' in capsys.readouterr().out
  ours, theirs = (
    experiment.load(path)
    for path in (finished_run.workdir, tmp_path / 'theirs')
  )
  assert theirs.step == 0
  assert tiny.same(ours.params, theirs.params)
  assert tiny.same(ours.batch_stats, theirs.batch_stats)
  ours, theirs = (
    experiment.load_discriminators(path)
    for path in (finished_run.workdir, tmp_path / 'theirs')
  )
  assert tiny.same(ours, theirs)
  with pytest.raises(UserError, match='is not empty: choose another'):
    weights.main(arguments)
  settings = with_settings(
    streets_data, f'discriminator.init=main={d_file}', f'init={exported}'
  )
  with tiny_runs.signalled_at(1):
    assert tiny_runs.run(*settings, f'--workdir={tmp_path / "theirs"}') == 143
  assert 'continuing at step 0' in capsys.readouterr().out


def test_training_from_a_published_encoder(
  exported, finished_run, streets_data, tmp_path, capsys, monkeypatch
):
  """New heads: nothing is scored or drawn of the start."""
  entry = published.Published('enc', 'enc.safetensors', '', '', (), 'https://x')
  monkeypatch.setattr(published, 'listed', lambda: {'enc': entry})
  monkeypatch.setenv(published.FOLDER, str(tmp_path))
  tensors = safetensors.numpy.load_file(exported)
  path = tmp_path / entry.file
  safetensors.numpy.save_file(
    {f'Scale.{k}': v for k, v in tensors.items() if 'layer6' not in k}, path
  )
  assert weights.main(['weights', 'fetch', 'enc']) == 0
  settings = ['init=enc', 'steps=1', 'seed=5']
  run = tmp_path / 'run'
  command = tiny_runs.command(run, streets_data, *settings)
  assert tiny_runs.run(*command) == 0
  said = capsys.readouterr().out
  assert '4 fresh (the file holds an encoder without our heads)' in said
  assert f'starting from {path}, step 0' in said
  assert 'at its start' not in said and 'random weights' not in said
  assert not (run / 'start_scores.json').exists()
  before = experiment.load(finished_run.workdir).params['encoder']
  after = experiment.load(run).params['encoder']
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, after)
  assert 0 < max(jax.tree.leaves(moved)) < 0.01  # one AdamW step of 2e-3


@pytest.mark.parametrize(
  ('setting', 'sentence'),
  [
    ('init=gone.pth', r'gone\.pth does not exist'),
    ('init=odd.safetensors', 'keys of no known model: a'),
    ('init=mit_b5', r'is not there yet: run `python -m jaxuda\.weights fetch'),
    ('init=mit_b', "neither a run nor published weights; did you mean 'mit_b"),
    ('discriminator.init=main=gone.pth', r'gone\.pth does not exist'),
    ('discriminator.init=left=x,main=y', "no discriminator 'left'; there are"),
  ],
)
def test_files_are_refused_before_anything_is_written(
  setting, sentence, streets_data, tmp_path, monkeypatch
):
  """Nor is a first stage trained."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv(published.FOLDER, str(tmp_path / 'weights'))
  odd = pathlib.Path('odd.safetensors')
  safetensors.numpy.save_file({'a': np.ones(1, 'f4')}, odd)
  command = tiny_runs.command(
    tmp_path / 'run', streets_data, setting, stages=True
  )
  with pytest.raises(UserError, match=sentence):
    tiny_runs.run(*command)
  assert list(tmp_path.iterdir()) == [tmp_path / odd]


def test_inspect(exported, capsys):
  assert weights.main(['weights', 'inspect', str(exported)]) == 0
  title, count, *rows = capsys.readouterr().out.splitlines()
  assert title == "deeplab: AdaptSegNet's and ADVENT's segmenters"
  tensors = safetensors.numpy.load_file(exported)
  numbers = sum(t.size for t in tensors.values() if t.dtype == np.float32)
  assert count == f'{len(tensors)} tensors, {numbers:,} numbers'
  assert len(rows) == len(tensors)
  assert any(
    row.split() == ['conv1.weight', 'float32', '(4,', '3,', '7,', '7)']
    for row in rows
  )


def test_a_reader_that_leaves_the_pipe(exported):
  """`inspect FILE | head -1`: no traceback."""
  command = f'{sys.executable} -m jaxuda.weights inspect {exported} | head -1'
  done = subprocess.run(
    command, shell=True, cwd=tiny.ROOT, capture_output=True, text=True
  )
  assert done.stdout.startswith('deeplab: ') and done.stderr == ''


def test_layouts_of_an_export(finished_run, tmp_path):
  path = tmp_path / 'bdl.safetensors'
  export.export(finished_run.workdir, path, layout='bdl')
  keys = safetensors.numpy.load_file(path).keys()
  assert 'layer5.conv2d_list.0.bias' in keys
  assert not any(key.startswith('layer6') for key in keys)
  for other in ('x', 'fada', 'scale'):
    with pytest.raises(UserError, match=f'{other} is none of deeplab, bdl'):
      export.export(finished_run.workdir, path, layout=other)


@pytest.mark.parametrize(
  ('arguments', 'sentence'),
  [
    ([], r'usage: .* fetch\|inspect\|import\|export; see --help'),
    (['convert'], r'usage: .* fetch\|inspect\|import\|export; see --help'),
    (['fetch', 'mit_b5', 'x'], "unexpected argument 'x'"),
    (['inspect'], 'FILE is needed'),
    (['inspect', 'a.pth', 'b.pth'], "unexpected argument 'b.pth'"),
    (['import', 'a.pth'], '--config is needed'),
    (['import', 'a.pth', '--config=configs/fada.py'], '--workdir is needed'),
    (['import', '--config=configs/fada.py'], 'FILE is needed'),
    (['export', '--output=a.pth'], '--workdir is needed'),
    (['export', '--workdir=runs/x'], '--output is needed'),
    (['export', '--network=teacher'], 'one of <segmenter|ema>'),
  ],
)
def test_command_lines_that_lack_something(
  arguments, sentence, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=sentence):
    weights.main(['weights', *arguments])
  assert not list(tmp_path.iterdir())
