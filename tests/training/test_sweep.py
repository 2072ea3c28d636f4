"""Several runs by one command: which, where, and what becomes of them."""

import os
import signal
import sys
import threading
import time

import pytest
import run_folders

from jaxuda import main
from jaxuda.training import sweep
from jaxuda.utils.errors import UserError

ARGV = ['main', '--config=configs/adabn.py:streets', '--config.steps=5']


def test_what_is_taken_off_a_command_line():
  argv, values = sweep.take(
    [*ARGV, '--seeds=0,1', '--sweep.optim.lr=1e-3,5e-4', '--workdir=x']
  )
  assert argv == [*ARGV, '--workdir=x']
  assert list(values.items()) == [  # the seeds of one config in a row
    ('optim.lr', ['1e-3', '5e-4']),
    ('seed', ['0', '1']),
  ]
  _, values = sweep.take(['main', '--sweep.eval.scales=(0.5,1.0),(1.0,)'])
  assert values == {'eval.scales': ['(0.5,1.0)', '(1.0,)']}
  assert sweep.take(ARGV) == (ARGV, {})
  for bad in ('--seeds=', '--seeds', '--seeds=0,0', '--sweep.optim.lr=1,,2'):
    with pytest.raises(UserError, match='give each value once'):
      sweep.take([*ARGV, bad])


def test_the_runs(tmp_path, monkeypatch):
  argv, values = sweep.take(
    [*ARGV, '--seeds=0,1', '--sweep.optim.lr=1e-3,5e-4']
  )
  planned = sweep.plan(argv, values, None)
  names = [str(each.workdir) for each in planned]
  assert names == [
    f'runs/adabn-streets-steps=5-optim.lr={rate}-seed={seed}'
    for rate in ('1e-3', '5e-4')
    for seed in (0, 1)
  ]
  for each in planned:
    assert each.command[:3] == [sys.executable, '-m', 'jaxuda.main']
    assert f'--workdir={each.workdir}' in each.command and not each.done
  # Of a folder that is named, and one that is there already.
  run_folders.write(
    tmp_path / 'a-optim.lr=1e-3-seed=0',
    *('steps=5', 'optim.lr=1e-3', 'seed=0'),
    ious=[0.5] * 19,
    config='configs/adabn.py:streets',
  )
  planned = sweep.plan(
    [*argv, f'--workdir={tmp_path}/a'], values, f'{tmp_path}/a'
  )
  assert [each.done for each in planned] == [True, False, False, False]
  run_folders.write(
    tmp_path / 'a-optim.lr=1e-3-seed=1', config='configs/adabn.py:streets'
  )
  with pytest.raises(UserError, match='holds a run of another config'):
    sweep.plan([*argv, f'--workdir={tmp_path}/a'], values, f'{tmp_path}/a')


def test_what_main_plans(tmp_path, monkeypatch, capsys):
  """Also of None, which not every parser has."""
  folder = tmp_path / 'a'
  given = [*ARGV, '--config.init=None', '--seeds=0,1', f'--workdir={folder}']

  def run(planned):
    for seed, each in enumerate(planned):
      assert '--config.init=None' in each.command
      run_folders.write(each.workdir, 'init=None', f'seed={seed}')
    return 0

  monkeypatch.setattr(sweep, 'run', run)
  assert main.main(given) == 0  # without a score there is nothing to compare
  assert 'a-seed=1: not finished' in capsys.readouterr().out
  for wrong, message in (
    (['--seeds', '0,1'], 'commas between them, as in --seeds=0,1,2'),
    (['--sweep=optim.lr=1,2'], r'write --sweep\.KEY='),
  ):
    with pytest.raises(UserError, match=message):
      main.main([*ARGV, *wrong])


def test_a_wrong_key_or_value_starts_nothing():
  for flag, message in (
    ('--sweep.optim.lt=1', "no key 'optim.lt'"),
    ('--sweep.optim.lr=1,x', 'takes float'),
  ):
    argv, values = sweep.take([*ARGV, flag])
    with pytest.raises(UserError, match=message):
      sweep.plan(argv, values, None)


def planned(folder, *codes):
  """Runs that are some Python code; the first one is finished."""
  return [
    sweep.Planned(folder / str(i), [sys.executable, '-c', code], not code)
    for i, code in enumerate(codes)
  ]


def test_one_that_fails_does_not_stop_the_others(tmp_path, capfd, monkeypatch):
  monkeypatch.setattr(sweep, 'gpus', list)
  there = tmp_path / 'there'
  runs = planned(
    tmp_path, '', 'import sys; sys.exit(3)', f'open({str(there)!r}, "w")'
  )
  assert sweep.run(runs) == 3
  assert there.exists()
  said = capfd.readouterr().out
  assert f'run 1 of 3: {tmp_path / "0"} is finished' in said
  assert f'{tmp_path / "1"} ended with status 3' in said
  assert sweep.run(runs[::2]) == 0


def test_one_on_each_gpu(tmp_path, monkeypatch):
  """Two at a time, each of which sees its own; their output in files."""
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,7')
  code = (
    'import os, pathlib, time; me = os.environ["CUDA_VISIBLE_DEVICES"]; '
    f'f = pathlib.Path({str(tmp_path)!r}, "on" + me); '
    'assert not f.exists(); f.touch(); time.sleep(0.5); f.unlink(); print(me)'
  )
  assert sweep.run(planned(tmp_path, *[code] * 4)) == 0
  used = [(tmp_path / f'{i}.log').read_text().strip() for i in range(4)]
  assert set(used) == {'4', '7'}


def test_a_signal_reaches_the_run(tmp_path, monkeypatch):
  """It saves and ends; those behind it are not started."""
  monkeypatch.setattr(sweep, 'gpus', list)
  code = (
    'import signal, sys, pathlib, time\n'
    f'folder = pathlib.Path({str(tmp_path)!r})\n'
    'def stop(*_): (folder / "saved").touch(); sys.exit(143)\n'
    'signal.signal(signal.SIGTERM, stop)\n'
    '(folder / "on").touch()\n'
    'time.sleep(60)'
  )
  runs = planned(tmp_path, code, f'open({str(tmp_path / "next")!r}, "w")')

  def interrupt():
    while not (tmp_path / 'on').exists():
      time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)

  threading.Thread(target=interrupt).start()
  with pytest.raises(KeyboardInterrupt):
    sweep.run(runs)
  assert (tmp_path / 'saved').exists() and not (tmp_path / 'next').exists()


def test_which_gpus(tmp_path, monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  assert sweep.gpus() == []
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
  smi = tmp_path / 'nvidia-smi'
  smi.write_text('#!/bin/sh\necho "GPU 0: A (UUID: x)"; echo "GPU 1: A"')
  smi.chmod(0o755)
  monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
  assert sweep.gpus() == ['0', '1']
  monkeypatch.setenv('PATH', '/nonexistent')
  assert sweep.gpus() == []
