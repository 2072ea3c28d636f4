"""Evaluation batches count every example once; prefetch raises and closes."""

import itertools
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import prepared
import pytest

from jaxuda import input as input_lib
from jaxuda.input import pipeline
from jaxuda.utils.errors import UserError

SIZE = (8, 12)
FULL = [(16, 24)] * 3 + [(10, 15)] * 2 + [None, None]  # None: no label_full


def _example(i):
  """Example i: its image is all i + 1, its label all class i, id 7 + ..."""
  ids = [7, 8, 11, 12, 13, 17, 19]
  full = FULL[i] and np.full(FULL[i], ids[i], np.uint8)
  image = np.full((*SIZE, 3), i + 1, np.uint8)
  return prepared.example(
    f'frame_{i}', image, np.full(SIZE, ids[i], np.uint8), full
  )


@pytest.fixture(scope='module')
def records(tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  examples = [_example(i) for i in range(len(FULL))]
  prepared.write(folder, 'cityscapes', SIZE, {'val': examples})
  return input_lib.open_records('cityscapes', SIZE, 'val', folder)


@pytest.mark.parametrize('batch_size', [1, 2, 3, 4, 5])
def test_every_example_once(records, batch_size):
  for count in (1, 2, 3):
    shares = [
      list(
        input_lib.eval_batches(
          records,
          space='cityscapes19',
          batch_size=batch_size,
          process_index=p,
          process_count=count,
        )
      )
      for p in range(count)
    ]
    assert len({len(share) for share in shares}) == 1
    seen = []
    for batches in zip(*shares, strict=True):
      assert len({b['label'].shape for b in batches}) == 1
      for batch in batches:
        seen += _check(batch, batch_size)
    assert sorted(seen) == list(range(len(FULL)))


def _check(batch, batch_size):
  """Assert that the rows are right; return which examples they are."""
  assert batch['image'].shape == (batch_size, *SIZE, 3)
  assert batch['image'].dtype == batch['label'].dtype == np.uint8
  assert batch['valid'].dtype == bool
  seen = []
  rows = zip(
    batch['image'], batch['label'], batch['id'], batch['valid'], strict=True
  )
  for image, label, name, valid in rows:
    if not valid:
      assert not image.any() and (label == 255).all() and name == ''
      continue
    i = int(image[0, 0, 0]) - 1
    assert (image == i + 1).all() and (label == i).all()
    assert label.shape == (FULL[i] or SIZE) and name == f'frame_{i}'
    seen.append(i)
  return seen


def test_shares_are_every_pth_of_a_group(records):
  ids = [
    [
      name
      for batch in input_lib.eval_batches(
        records,
        space='cityscapes19',
        batch_size=2,
        process_index=p,
        process_count=2,
      )
      for name in batch['id']
    ]
    for p in range(2)
  ]
  # Groups by label size: 5 and 6 (8x12), 3 and 4 (10x15), 0, 1, 2 (16x24).
  assert ids[0] == ['frame_5', '', 'frame_3', '', 'frame_0', 'frame_2']
  assert ids[1] == ['frame_6', '', 'frame_4', '', 'frame_1', '']


def test_more_processes_than_examples(records):
  batches = [
    list(
      input_lib.eval_batches(
        records,
        space='cityscapes19',
        batch_size=1,
        process_index=p,
        process_count=8,
      )
    )
    for p in range(8)
  ]
  assert {len(share) for share in batches} == {3}
  assert not any(b['valid'].any() for b in batches[7])


def test_plan_is_in_order():
  sizes = dict(enumerate('babb'))
  assert pipeline._plan(sizes, 2, 0, 1) == [
    ('a', [1]),
    ('b', [0, 2]),
    ('b', [3]),
  ]


def test_broken_examples_are_named(tmp_path):
  examples = [_example(i) for i in range(3)]
  examples[1]['label_full'] = examples[1]['label_full'][:60]  # header is whole
  prepared.write(tmp_path, 'cityscapes', SIZE, {'val': examples})
  records = input_lib.open_records('cityscapes', SIZE, 'val', tmp_path)
  batches = input_lib.eval_batches(records, space='cityscapes19', batch_size=1)
  assert next(batches)['id'] == ['frame_0']
  with pytest.raises(UserError, match=r"'val': example 1 \(frame_1\)"):
    next(batches)


def test_unreadable_header_is_named_at_once(tmp_path):
  examples = [_example(0) | {'image': b'no picture'}]
  prepared.write(tmp_path, 'cityscapes', SIZE, {'val': examples})
  records = input_lib.open_records('cityscapes', SIZE, 'val', tmp_path)
  with pytest.raises(UserError, match=r'example 0 \(frame_0\)'):
    input_lib.eval_batches(records, space='cityscapes19', batch_size=1)


def _threads():
  return [t for t in threading.enumerate() if t.name == 'prefetch']


def test_prefetch_keeps_the_order_and_ends():
  with input_lib.prefetch(iter(range(50)), lambda x: x * 2) as batches:
    assert list(batches) == [2 * i for i in range(50)]
    assert list(batches) == []
  assert not _threads()


def test_prefetch_stays_size_ahead():
  taken = []
  with input_lib.prefetch(itertools.count(), taken.append, size=3) as batches:
    for step in range(1, 5):
      deadline = time.time() + 5
      while len(taken) < step + 2 and time.time() < deadline:
        time.sleep(0.001)
      time.sleep(0.02)  # time enough to run further ahead, were it possible
      assert taken == list(range(step + 2))
      next(batches)


def test_prefetch_raises_where_the_batch_would_have_come():
  def broken():
    yield from (1, 2)
    raise UserError('example 3 is broken')

  with input_lib.prefetch(broken(), lambda x: x) as batches:
    assert [next(batches), next(batches)] == [1, 2]
    with pytest.raises(UserError, match='example 3 is broken'):
      next(batches)
  with (
    input_lib.prefetch(iter([1, 0]), lambda x: 1 // x) as batches,
    pytest.raises(ZeroDivisionError),
  ):
    list(batches)
  assert not _threads()


def test_prefetch_closes_early_and_closes_the_iterator():
  closed = []

  def endless():
    try:
      yield from itertools.count()
    finally:
      closed.append(True)

  with input_lib.prefetch(endless(), lambda x: x) as batches:
    next(batches)
  assert closed == [True] and not _threads()
  batches.close()  # again, harmless
  assert list(batches) == []


def test_prefetch_measures_the_wait():
  def slow():
    for i in range(4):
      time.sleep(0.05)
      yield i

  with input_lib.prefetch(slow(), lambda x: x) as batches:
    list(batches)
    assert 0.15 < batches.waited_s < 1.0
  with input_lib.prefetch(iter(range(4)), lambda x: x, size=4) as batches:
    time.sleep(0.1)
    list(batches)
    assert batches.waited_s < 0.05


@pytest.mark.slow
def test_a_process_ends_without_closing(records):
  """Data threads that outlive Python would abort or hang the process."""
  code = f"""
from jaxuda import input as input_lib
records = input_lib.open_records(
  'cityscapes', {SIZE}, 'val', {str(records.path.parents[2])!r})
streams = {{'source': input_lib.Stream(records, None, 2)}}
unread = input_lib.train_batches(streams, seed=0)
next(unread)
ahead = input_lib.prefetch(
  input_lib.train_batches(streams, seed=0), lambda x: x, size=10**6)
next(ahead)
raise SystemExit(3)
"""
  root = pathlib.Path(__file__).parents[2]
  ended = subprocess.run(
    [sys.executable, '-c', code], cwd=root, timeout=100, check=False
  )
  assert ended.returncode == 3


def test_train_batches_through_prefetch(records):
  streams = {'source': input_lib.Stream(records, 'cityscapes19', 2)}
  plain = list(itertools.islice(input_lib.train_batches(streams, seed=0), 5))
  batches = input_lib.train_batches(streams, seed=0)
  with input_lib.prefetch(batches, lambda b: b) as ahead:
    for expected, batch in zip(plain, ahead, strict=False):
      np.testing.assert_array_equal(
        expected['source']['image'], batch['source']['image']
      )
  assert not _threads()
