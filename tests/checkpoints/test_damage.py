"""Damaged checkpoints, full disks, kills: nothing wrong is taken for right."""

import errno
import resource
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from small_state import equal, make_state, restore, run_child, save

from jaxuda import checkpoints
from jaxuda.checkpoints import reader
from jaxuda.utils.errors import UserError


@pytest.fixture
def directory(tmp_path):
  return tmp_path / 'checkpoints'


@pytest.mark.slow
def test_no_flipped_bit_is_taken(directory, caplog):
  save(directory, [0.5])
  want = make_state(1)
  abstract = jax.eval_shape(lambda: make_state(1))
  files = [p for p in (directory / '1').rglob('*') if p.is_file()]
  arrays = max(files, key=lambda p: p.stat().st_size)
  rng = np.random.default_rng(0)
  detected = dict.fromkeys(files, 0)
  with checkpoints.Checkpoints(directory) as manager:
    for file in [*files * 10, *[arrays] * 90]:
      whole = file.read_bytes()
      flipped = bytearray(whole)
      flipped[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
      file.write_bytes(flipped)
      try:
        state, extra = manager.restore(1, abstract)
        assert equal(state, want) and extra == {'note': 1}, file
      except UserError as e:
        detected[file] += 1
        assert 'damaged checkpoint of step 1' in str(e)
        assert str(directory / '1') in str(e)
      file.write_bytes(whole)
  assert detected[arrays] > 60  # of 100; the file has unused parts
  assert 'Traceback' not in caplog.text


@pytest.mark.slow
def test_damage_names_the_array(directory, monkeypatch):
  save(directory, [0.5])
  describe = reader.manifest_lib.describe
  monkeypatch.setattr(
    reader.manifest_lib,
    'describe',
    lambda x: describe(x if x.shape != (3, 3, 3, 8) else x + 1),
  )
  with pytest.raises(UserError, match='conv1/kernel is not what was saved'):
    restore(directory, 1)


def test_truncated_and_deleted_files(directory):
  save(directory, [0.5])
  files = [p for p in (directory / '1').rglob('*') if p.is_file()]
  outcomes = set()
  for file in files:
    whole = file.read_bytes()
    for damage in (
      lambda f, whole=whole: f.write_bytes(whole[: len(whole) // 2]),
      lambda f: f.unlink(),
    ):
      damage(file)
      try:
        state, _ = restore(directory, 1)
        assert equal(state, make_state(1)), file
        outcomes.add('harmless')
      except UserError:
        outcomes.add('told')
      file.write_bytes(whole)
  assert outcomes == {'harmless', 'told'}


def damage(directory, step):
  """Flip a bit in the largest file of a checkpoint."""
  files = [p for p in (directory / str(step)).rglob('*') if p.is_file()]
  file = max(files, key=lambda p: p.stat().st_size)
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 4
  file.write_bytes(content)


def test_falls_back_to_the_newest_whole_one(directory, caplog):
  save(directory, [0.5, 0.4, 0.3])
  damage(directory, 3)
  state, extra = restore(directory, 'latest')
  assert equal(state, make_state(2)) and extra == {'note': 2}
  assert 'damaged checkpoint of step 3' in caplog.text
  assert 'going on from step 2' in caplog.text
  assert (directory / 'damaged-3' / 'state').is_dir()
  with checkpoints.Checkpoints(directory) as manager:
    assert manager.all_steps() == [1, 2]
    manager.save(3, make_state(3))
    state, _ = manager.restore('latest', make_state(1))
  assert equal(state, make_state(3))


def test_nothing_is_moved_where_none_is_whole(directory):
  save(directory, [0.5, 0.4])
  for step in (1, 2):
    damage(directory, step)
  for _ in range(2):
    with pytest.raises(UserError, match='damaged checkpoint of step 2, 1'):
      restore(directory, 'latest')
  with pytest.raises(UserError, match='damaged checkpoint of step 1'):
    restore(directory, 1)
  with pytest.raises(UserError, match='damaged checkpoint of step 2'):
    checkpoints.restore_part(directory)
  assert sorted(p.name for p in directory.iterdir()) == ['1', '2']


def test_strays_are_ignored_with_a_warning(directory, caplog):
  save(directory, [0.5])
  for name in ('9999', 'notes', '0007', '3.orbax-checkpoint-tmp'):
    (directory / name).mkdir()
  (directory / '5').write_text('a file')
  with checkpoints.Checkpoints(directory) as manager:
    assert 'ignored 0007, 5, 9999, notes' in caplog.text
    assert manager.latest_step() == manager.best_step() == 1
    for step in (2, 3, 5):  # below 9999, and where a stray is
      manager.save(step, make_state(step))
    state, _ = manager.restore('latest', make_state(1))
  assert not manager.failed
  assert equal(state, make_state(5))
  assert manager.all_steps() == [1, 3, 5]
  assert (directory / 'damaged-5').read_text() == 'a file'
  assert (directory / '9999').is_dir()


def test_full_disk_costs_no_checkpoint(directory, caplog):
  """A limit on the size of a file stands in for the full disk."""
  big = {'x': jax.random.normal(jax.random.key(0), (200_000,))}
  with checkpoints.Checkpoints(directory) as manager:
    manager.save(1, big, {'miou': 0.5})
    manager.save(2, big, {'miou': 0.4})
    manager.wait()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
      manager.save(3, big, {'miou': 0.9})
      manager.save(4, big)
      manager.wait()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(manager.failed) == [3, 4]
    assert 'step 3 was not written' in caplog.text
    assert 'Traceback' not in caplog.text
    assert sorted(p.name for p in directory.iterdir()) == ['1', '2']
    assert (manager.latest_step(), manager.best_step()) == (2, 1)
    manager.save(5, big, {'miou': 0.7})
    state, _ = manager.restore('latest', big)
  assert equal(state, big)
  assert manager.all_steps() == [2, 5] and manager.best_step() == 5


def test_a_save_that_raises_is_told(directory, monkeypatch, caplog):
  with checkpoints.Checkpoints(directory) as manager:
    manager.save(1, make_state(1))
    manager.wait()

    def refuse(*args, **kwargs):
      raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as m:
      m.setattr(manager._manager, 'save', refuse)
      manager.save(2, make_state(2))
      m.setattr(manager._manager, 'save', lambda *a, **k: False)
      manager.save(3, make_state(3))
    assert 'No space left on device' in manager.failed[2]
    assert 'declined' in manager.failed[3]
    assert 'last good one' in caplog.text
    manager.save(4, make_state(4))
  assert manager.all_steps() == [1, 4]


@pytest.mark.slow
def test_kill_at_any_moment_leaves_whole_checkpoints(directory):
  for delay in (0.05, 0.21):
    child = run_child(
      """
      import sys
      from jaxuda import checkpoints
      manager = checkpoints.Checkpoints(sys.argv[1])
      first = (manager.latest_step() or 0) + 1
      for step in range(first, first + 1000):
        manager.save(step, make_state(step), {'miou': 1 / step})
        print(step, flush=True)
      """,
      directory,
    )
    for _ in range(3):
      child.stdout.readline()
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with checkpoints.Checkpoints(directory) as manager:
      latest = manager.latest_step()
      assert latest > 1 and manager.best_step() == 1
      for step in manager.all_steps():
        state, _ = manager.restore(step, make_state(1))
        assert equal(state, make_state(step))
    assert not list(directory.glob('*tmp*'))


LATE = """
import asyncio, threading
import tensorstore
from jaxuda.checkpoints import reader
reader.quieten()

async def waiting():
  promise, future = tensorstore.Promise.new()
  async def wait():
    await future
  asyncio.ensure_future(wait())
  await asyncio.sleep(0)
  return promise

loop = asyncio.new_event_loop()
promise = loop.run_until_complete(waiting())
loop.close()
late = threading.Thread(target=lambda: promise.set_result(1))
late.start()
late.join()
"""


def test_a_write_that_ends_late_says_nothing():
  """Not 'Event loop is closed', where orbax has given up a save."""
  done = subprocess.run(
    [sys.executable, '-c', LATE], capture_output=True, text=True, check=True
  )
  assert 'closed' not in done.stderr and 'Traceback' not in done.stderr
