"""What cannot work is refused in one sentence, and nothing is left behind.

Through the command line of the training. Wrong flags are in test_main.py, wrong
keys in tests/config, bad datasets in tests/datasets.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import tiny
import tiny_runs

from jaxuda import experiment, main, predict
from jaxuda.utils.cli import run_cli
from jaxuda.utils.errors import UserError


@pytest.fixture
def run(finished_run, tmp_path):
  """A copy of a finished run, which a test may damage."""
  return shutil.copytree(finished_run.workdir, tmp_path / 'runs' / 'run')


@pytest.fixture
def refused(capsys, tmp_path):
  """refused(*arguments) -> the message, after which all files are as before."""

  def contents():
    files = sorted(p for p in tmp_path.rglob('*') if p.name != '.lock')
    return [(p, p.read_bytes() if p.is_file() else None) for p in files]

  def call(*arguments):
    before = contents()
    capsys.readouterr()
    with pytest.raises(SystemExit) as e:
      run_cli(main.main, ['main', *arguments])
    said = capsys.readouterr().err
    assert e.value.code == 2
    assert said.startswith('error: ') and said.endswith('\n')
    assert 'Traceback' not in said
    assert contents() == before
    return said.removeprefix('error: ').strip()

  return call


def flip_bits(folder: pathlib.Path) -> None:
  """Flip a bit in every KiB of all files of arrays, whatever is in which."""
  for file in folder.glob('state/ocdbt.process_0/d/*'):
    content = bytearray(file.read_bytes())
    for position in range(512, len(content), 1024):
      content[position] ^= 1
    file.write_bytes(content)


def test_a_dataset_that_is_not_prepared(refused, tmp_path):
  """Told before anything is trained: `:camvid` has a first stage on streets."""
  sentence = refused(
    '--config=configs/advent_patch.py',
    f'--workdir={tmp_path / "runs" / "paper"}',
    f'--config.data_dir={tmp_path / "data"}',
  )
  assert 'gta5 is not prepared at 720x1280' in sentence
  assert (
    'python -m data.prepare gta5 --raw=DIR --size=720x1280 '
    f'--data_dir={tmp_path / "data"}'
  ) in sentence
  assert ':streets' in sentence and '\n' not in sentence


def test_a_target_is_missed_before_the_first_stage(
  refused, streets_data, tmp_path
):
  sentence = refused(
    *tiny_runs.command(
      tmp_path / 'runs' / 'photos',
      streets_data,
      'target.name=camvid',
      stages=True,
    )
  )
  assert 'python -m data.prepare camvid --raw=DIR --size=32x64' in sentence


@pytest.mark.parametrize(
  ('override', 'words'),
  [
    ('patch.size=33', r'patch\.size=33 must be 32 to 32, or None'),
    ('source.crop=40x40', r'^config\.source\.crop 40x40'),
    ('source.scale=(0.5,1.5)', r'^config\.source\.scale=.* needs config\.sou'),
    ('loss_weights.d_main=None', r'd_main=None must be a number'),
    ('source.batch_size=0', r'source\.batch_size=0 must be at least 1'),
    ('steps=0', 'steps=0 must be at least 1'),
    ('checkpoint_every=0', 'checkpoint_every=0 must be at least 1'),
    ('num_log_images=-1', 'num_log_images=-1 must be at least 0'),
    ('seed=-1', 'seed=-1 must be at least 0'),
    ('eval.split=tset', "no split 'tset'; it has train, val"),
    ('target.split=tune', "no split 'tune'; it has train"),
    ('init=nowhere', 'init=nowhere is neither a run nor published weights'),
    ('init_stage.steps=0', 'steps=0 must be at least 1'),
  ],
)
def test_settings(override, words, refused, streets_data, tmp_path):
  workdir = tmp_path / 'runs' / 'run'
  stages = override.startswith('init_stage')
  sentence = refused(
    *tiny_runs.command(workdir, streets_data, override, stages=stages)
  )
  assert re.search(words, sentence)


def test_a_workdir_below_a_file(refused, streets_data, tmp_path):
  (tmp_path / 'file').write_text('mine')
  sentence = refused(
    *tiny_runs.command(tmp_path / 'file' / 'run', streets_data)
  )
  assert sentence == (
    f'cannot write to the workdir {tmp_path}/file/run (Not a directory): give '
    'another one with --workdir=DIR'
  )


@pytest.mark.slow
def test_a_workdir_with_another_config(run, refused, streets_data):
  sentence = refused(
    *tiny_runs.command(run, streets_data, 'optim.lr=1', 'patch.size=None')
  )
  assert sentence.splitlines() == [
    f'{run} holds a run of another config (stored -> given):',
    '  optim.lr: 0.002 -> 1.0',
    '  patch.size: 32 -> null',
    'give another --workdir, or the stored values',
  ]


@pytest.mark.slow
def test_another_config_is_refused_before_a_first_stage(
  run, refused, streets_data
):
  (run / 'scores.json').unlink()
  sentence = refused(*tiny_runs.command(run, streets_data, stages=True))
  assert sentence.splitlines()[1:-1] == [
    '  init_stage: null -> "source_only-streets-encoder=resnet"'
  ]


@pytest.mark.slow
def test_a_start_with_another_network(run, refused, streets_data):
  """Named: the first parameter that differs, with both shapes."""
  arguments = [run.with_name('new'), streets_data, f'init={run}']
  wider = refused(*tiny_runs.command(*arguments, 'model.encoder.width=8'))
  assert re.fullmatch(
    r'config\.init: batch_stats/encoder/bn1/mean is \(8,\) here and \(4,\) in '
    + re.escape(f'{run}.'),
    wider,
  )
  longer = refused(
    *tiny_runs.command(*arguments, 'model.encoder.blocks=(1,1,1,2)')
  )
  assert 'layer4' in longer and f'missing in {run}.' in longer
  shorter = refused(
    *tiny_runs.command(*arguments, 'model.decoder.dilations=(6,)')
  )
  assert re.search(r'also has params/decoder/layer6/conv2d_list_1', shorter)


@pytest.mark.slow
def test_a_checkpoint_that_is_no_number(run):
  with pytest.raises(UserError, match='²'):  # a digit, but no decimal one
    experiment.load(run, '²')


@pytest.mark.slow
def test_a_batch_that_two_devices_cannot_share(streets_data, tmp_path):
  done = subprocess.run(
    [
      sys.executable,
      '-m',
      'jaxuda.main',
      *tiny_runs.command(tmp_path / 'run', streets_data, 'target.batch_size=3'),
    ],
    cwd=tiny.ROOT,
    env=os.environ | tiny.virtual_devices(2),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  assert done.stderr == (
    'error: config.target.batch_size=3 must be a multiple of the 2 device(s).\n'
  )
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_damaged_checkpoint(
  run, finished_run, streets_data, refused, tmp_path, caplog, capsys
):
  """The one before is used, and the run ends as if nothing had happened."""
  flip_bits(run / 'checkpoints' / '9')
  (run / 'scores.json').unlink()
  photos = tmp_path / 'photos'
  photos.mkdir()
  with pytest.raises(SystemExit) as e:
    run_cli(
      predict.main,
      ['predict', f'--workdir={run}', f'--images={run}/figures',
       f'--output={photos}', '--checkpoint=9'],
    )  # fmt: skip
  assert e.value.code == 2 and not list(photos.iterdir())
  said = capsys.readouterr().err
  assert said.startswith('error: damaged checkpoint of step 9: ')
  assert 'is not what was saved' in said or 'Error' in said

  assert tiny_runs.run(*tiny_runs.command(run, streets_data)) == 0
  assert 'damaged checkpoint of step 9' in caplog.text
  assert 'going on from step 8' in caplog.text
  assert 'continuing at step 8' in capsys.readouterr().out
  for name in ('metrics.csv', 'scores.json'):
    expected = (finished_run.workdir / name).read_bytes()
    assert (run / name).read_bytes() == expected

  for checkpoint in run.glob('checkpoints/[0-9]*'):
    flip_bits(checkpoint)
  (run / 'scores.json').unlink()
  assert 'damaged checkpoint of step 9, 8' in refused(
    *tiny_runs.command(run, streets_data)
  )
