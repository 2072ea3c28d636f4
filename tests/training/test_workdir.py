"""A run's folder: its config and its lock."""

import json
import os
import signal

import pytest
from small_state import run_child

from jaxuda.training import workdir as workdir_lib
from jaxuda.utils.errors import UserError

CONFIG = {
  'seed': 0,
  'optim': {'lr': 1e-3, 'betas': (0.9, 0.99)},
  'eval': {'batch_size': 1, 'split': 'val'},
}


def test_first_start_then_resume(tmp_path):
  path = tmp_path / 'runs' / 'a'
  with workdir_lib.open_workdir(path, CONFIG) as resumed:
    assert not resumed
  stored = json.loads((path / 'config.json').read_text())
  assert stored['optim'] == {'lr': 1e-3, 'betas': [0.9, 0.99]}
  with workdir_lib.open_workdir(path, CONFIG) as resumed:
    assert resumed


def test_other_config_is_refused_with_the_difference(tmp_path):
  with workdir_lib.open_workdir(tmp_path, CONFIG):
    pass
  before = (tmp_path / 'config.json').read_text()
  other = {
    'optim': {'lr': 0.1, 'betas': (0.9, 0.99), 'nesterov': True},
    'eval': {'batch_size': 2, 'split': 'val'},
  }
  with (
    pytest.raises(UserError) as e,
    workdir_lib.open_workdir(tmp_path, other),
  ):
    pass
  assert str(e.value).splitlines() == [
    f'{tmp_path} holds a run of another config (stored -> given):',
    '  seed: 0 -> absent',
    '  optim.lr: 0.001 -> 0.1',
    '  optim.nesterov: absent -> true',
    'give another --workdir, or the stored values',
  ]
  assert (tmp_path / 'config.json').read_text() == before


def test_a_config_is_compared_without_a_trace(tmp_path):
  path = tmp_path / 'run'
  assert not workdir_lib.check_config(path, CONFIG) and not path.exists()
  with workdir_lib.open_workdir(path, CONFIG):
    pass
  before = {p: p.stat().st_mtime_ns for p in path.iterdir()}
  other = CONFIG | {'eval': {'batch_size': 7, 'split': 'train'}}
  assert workdir_lib.check_config(path, other, ['eval.split'])
  with pytest.raises(UserError, match='seed: 0 -> 1'):
    workdir_lib.check_config(path, CONFIG | {'seed': 1})
  assert {p: p.stat().st_mtime_ns for p in path.iterdir()} == before


def test_keys_that_may_change_are_stored(tmp_path):
  """What is logged, at any level; and further keys, where that is asked for."""
  stage = {'log_every': 1, 'optim': {'lr': 0.5}}
  config = CONFIG | {'log_every': 5, 'init_stage': stage}
  with workdir_lib.open_workdir(tmp_path, config):
    pass
  changed = {
    'log_every': 7,
    'eval': {'batch_size': 3, 'split': 'val'},
    'init_stage': stage | {'log_every': 2},
  }
  with workdir_lib.open_workdir(tmp_path, config | changed) as resumed:
    assert resumed
  stored = json.loads((tmp_path / 'config.json').read_text())
  assert {key: stored[key] for key in changed} == changed
  # Parts of names are no keys, nor are those below other ones.
  for key, value in (('log_every_', 1), ('logs', {'log_every': 1})):
    with pytest.raises(UserError, match=f'{key}.*: absent -> 1'):
      workdir_lib.check_config(tmp_path, config | {key: value})
  other = config | {'eval': {'batch_size': 1, 'split': 'train'}}
  with pytest.raises(UserError, match=r'eval\.split: "val" -> "train"'):
    workdir_lib.check_config(tmp_path, other, ['eva', 'split', 'eval.splits'])
  for may_change in ('eval', 'eval.split'):
    assert workdir_lib.check_config(tmp_path, other, [may_change])


def test_unwritable_workdir(tmp_path):
  # Below a file: root may write where the permissions say no.
  (tmp_path / 'file').write_text('x')
  for path in (tmp_path / 'file', tmp_path / 'file' / 'run', '/proc/run'):
    with (
      pytest.raises(UserError, match=f'cannot write to the workdir {path} '),
      workdir_lib.open_workdir(path, CONFIG),
    ):
      pass


def test_damaged_or_missing_config(tmp_path):
  for content in ('{"seed": 0', '[1]', ''):
    (tmp_path / 'config.json').write_text(content)
    with pytest.raises(UserError, match=r'config\.json is damaged'):
      workdir_lib.open_workdir(tmp_path, CONFIG).__enter__()
  (tmp_path / 'config.json').unlink()
  (tmp_path / 'checkpoints' / '3').mkdir(parents=True)
  with pytest.raises(UserError, match='checkpoints but no config'):
    workdir_lib.open_workdir(tmp_path, CONFIG).__enter__()
  assert not (tmp_path / 'config.json').exists()


def test_one_process_at_a_time_and_no_stale_lock(tmp_path):
  child = run_child(
    """
    import sys, time
    from jaxuda.training import workdir
    with workdir.open_workdir(sys.argv[1], {}):
      print('in', flush=True)
      time.sleep(60)
    """,
    tmp_path,
  )
  assert child.stdout.readline() == 'in\n', child.stderr.read()
  with pytest.raises(UserError, match=f'in use by process {child.pid} on '):
    workdir_lib.open_workdir(tmp_path, {}).__enter__()
  child.send_signal(signal.SIGKILL)
  child.communicate()
  with workdir_lib.open_workdir(tmp_path, {}) as resumed:
    assert resumed
    with pytest.raises(UserError, match=f'process {os.getpid()} on'):
      workdir_lib.open_workdir(tmp_path, {}).__enter__()
  with workdir_lib.open_workdir(tmp_path, {}):
    pass
