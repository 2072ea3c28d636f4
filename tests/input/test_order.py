"""Class-balanced order: weights, sequence, resume, shares, stored classes."""

import io
import itertools

import numpy as np
import PIL.Image
import prepared
import pytest
import tiny
from prepared import SIZE

from jaxuda import config as config_lib
from jaxuda import experiment
from jaxuda import input as input_lib
from jaxuda.input import Augment, Stream, from_config, label_counts, order
from jaxuda.input.order import ClassBalanced
from jaxuda.utils.errors import UserError

COUNT = 12
# Raw ids and their classes: road in every image, the others ever more rarely.
ROAD, CAR, TRAIN = 7, 26, 31
AUGMENT = Augment(flip=True, jitter=(0.5, 0.5, 0.5, 0.2))


def example(i, *ids):
  """Image i, with a pixel in a row for each id; the others are void."""
  label = np.zeros(SIZE, np.uint8)
  label[3, : len(ids)] = ids
  return prepared.noise(i, label=prepared.png(label))


def examples():
  """Image 0 alone has the train; image 11 has no class at all."""
  for i in range(COUNT - 1):
    ids = [ROAD] + [CAR] * (i % 4 == 0) + [TRAIN] * (i == 0)
    yield example(i, *ids)
  yield example(COUNT - 1, 0, 3)


@pytest.fixture
def records(tmp_path):
  unlabelled = [prepared.noise(i, label=b'') for i in range(2)]
  void = [example(i, 0, 5) for i in range(2)]
  splits = {'train': list(examples()), 'test': unlabelled, 'val': void}
  prepared.write(tmp_path, 'gta5', SIZE, splits)
  return lambda split='train': input_lib.open_records(
    'gta5', SIZE, split, tmp_path
  )


def balanced(records, **changed):
  settings = {'augment': AUGMENT, 'sampling': 'class_balanced'} | changed
  return Stream(records, 'cityscapes19', 4, **settings)


def take(count, stream, seed=3, **options):
  batches = input_lib.train_batches({'source': stream}, seed=seed, **options)
  return [b['source'] for b in itertools.islice(batches, count)]


def by_hand(present, draws, rng):
  """How often each image is drawn in sub-epochs of 3,000; FADA, gta5.py."""
  images_of = {
    c: list(np.flatnonzero(present[:, c])) for c in range(present.shape[1])
  }
  at = dict.fromkeys(images_of, 0)
  often = np.zeros(len(present), int)
  seen = np.zeros(present.shape[1])
  for draw in range(draws):
    if draw % 3000 == 0:
      seen[:] = 0
    share = seen / seen.sum() if seen.any() else seen
    chance = np.array([1 / np.log(1 + 0.01 + s) for s in share])
    c = rng.choice(len(chance), p=chance / chance.sum())
    if at[c] > len(images_of[c]) - 1:
      rng.shuffle(images_of[c])
      at[c] %= len(images_of[c]) - 1
    image = images_of[c][at[c]]
    at[c] += 1
    often[image] += 1
    for k in np.flatnonzero(present[image]):
      seen[k] += 1
  return often


def test_weights():
  """The numbers that FADA's own lines give."""
  found = order.class_weights(np.array([0, 0.5, 0.3, 0.2]))
  np.testing.assert_allclose(
    found, [0.898316, 0.021690, 0.033102, 0.046892], atol=5e-7
  )


def test_classes_are_as_frequent_as_by_hand():
  rng = np.random.default_rng(0)
  present = rng.random((400, 6)) < [0.97, 0.9, 0.5, 0.2, 0.04, 0.01]
  draws = 3 * order.SUB_EPOCH
  images = ClassBalanced(present, 5, 'source')(0, draws)
  often = np.bincount(images, minlength=len(present))
  expected = by_hand(present, draws, np.random.RandomState(1))
  found, wanted = (n @ present / draws for n in (often, expected))
  np.testing.assert_allclose(found, wanted, atol=0.01)
  # Images of the rarest class, and those of the commonest alone.
  rare, common = present[:, 5], ~present[:, 2:].any(1)
  for some in (rare, common):
    assert often[some].mean() == pytest.approx(expected[some].mean(), rel=0.05)
  assert often[rare].mean() > 10 * often[common].mean()


def test_the_first_draws_of_a_sub_epoch_see_every_class():
  """Unseen classes have the most weight, in each sub-epoch again."""
  present = np.eye(8, dtype=bool)
  sequence = ClassBalanced(present, 0, 'source')
  for _ in range(2):
    first = sequence.draw()[:40]
    assert len(set(first)) == 8 and first.dtype == np.int32


def test_a_list_that_is_used_up_starts_at_its_second_image():
  drawn = ClassBalanced(np.ones((5, 1), bool), 0, 'source').draw()
  passes = [drawn[:5], *drawn[5 : 5 + 4 * 700].reshape(700, 4)]
  assert all(len(set(p)) == len(p) for p in passes)
  left_out = [({*range(5)} - set(p)).pop() for p in passes[1:]]
  np.testing.assert_allclose(np.bincount(left_out) / 700, 0.2, atol=0.06)
  for length in (1, 2):  # for which FADA's index is no number, or zero
    images = ClassBalanced(np.ones((length, 1), bool), 0, 'source')(0, 30)
    assert set(images) == {*range(length)}


def test_classes_and_images_that_are_not_there():
  present = np.zeros((6, 19), bool)
  present[1, 3] = present[1:4, 7] = True
  images = ClassBalanced(present, 0, 'source')(0, 500)
  assert set(images) == {1, 2, 3}
  share = (images == 1).mean()  # half of the draws, and a third of the others
  assert 0.55 < share < 0.75


def test_the_sequence_is_one_however_it_is_asked():
  present = np.random.default_rng(0).random((50, 4)) < 0.3
  size = order.SUB_EPOCH
  whole = ClassBalanced(present, 5, 'source')(0, 2 * size + 9)
  part = ClassBalanced(present, 5, 'source')
  for start, count in [(2 * size + 1, 8), (size - 3, 9), (0, 4), (7, 0)]:
    np.testing.assert_array_equal(
      part(start, count), whole[start : start + count]
    )
  for seed, name in [(6, 'source'), (5, 'labelled')]:
    other = ClassBalanced(present, seed, name)(0, 100)
    assert (other != whole[:100]).mean() > 0.8


def test_resume_is_the_tail_bit_for_bit(records, monkeypatch):
  monkeypatch.setattr(order, 'SUB_EPOCH', 10)  # two and a half batches
  whole = take(9, balanced(records()))
  tail = take(4, balanced(records()), first_step=5)
  for left, right in zip(whole[5:], tail, strict=True):
    for key in ('image', 'label'):
      np.testing.assert_array_equal(left[key], right[key])


def test_shares_of_two_processes_make_the_batch(records, monkeypatch):
  monkeypatch.setattr(order, 'SUB_EPOCH', 10)
  whole = take(6, balanced(records()))
  shares = [
    take(6, balanced(records()), process_index=p, process_count=2)
    for p in (0, 1)
  ]
  for batch, *parts in zip(whole, *shares, strict=True):
    assert [len(p['image']) for p in parts] == [2, 2]
    for key in ('image', 'label'):
      joined = np.concatenate([p[key] for p in parts])
      np.testing.assert_array_equal(batch[key], joined)


def test_batches_show_rare_classes_and_few_images(records):
  batches = take(50, balanced(records(), augment=Augment()))
  label = np.concatenate([b['label'] for b in batches])
  image = np.concatenate([b['image'][:, 0, 0, 0] for b in batches])
  assert ((label == 16).any((1, 2)) == (image == 0)).all()
  assert 0.25 < (image == 0).mean() < 0.75  # the train's; a twelfth if uniform
  assert set(image) == {*range(COUNT - 1)}
  few = balanced(records(), augment=Augment(), count=4)
  shown = {i for b in take(40, few) for i in b['image'][:, 0, 0, 0]}
  chosen = {*input_lib.shuffled_epochs(COUNT, 0, 'count', 0, 4)} - {COUNT - 1}
  assert shown == chosen


def test_classes_are_those_of_the_labels(records, capsys):
  found = records()
  counts = label_counts.of_ids(found)
  for row, made in zip(counts, examples(), strict=True):
    with PIL.Image.open(io.BytesIO(made['label'])) as label:
      expected = np.bincount(np.ravel(label), minlength=256)
      np.testing.assert_array_equal(row, expected)
  # 0 road, 13 car, 16 train.
  there = label_counts.of_classes(found, 'cityscapes19') > 0
  assert there.shape == (COUNT, 19)
  assert there.sum(0)[[0, 13, 16]].tolist() == [11, 3, 1] and there.sum() == 15
  assert capsys.readouterr().out.count('its 12 labels') == 1
  [kept] = found.path.glob('*label_counts*')
  assert kept.name == 'label_counts-train.npz'


def test_labels_are_read_once(records, monkeypatch, capsys):
  counts = label_counts.of_ids(records())
  kept = records().path / 'label_counts-train.npz'
  with monkeypatch.context() as patch:
    patch.setattr(label_counts, '_read', None)  # nothing is read any more
    np.testing.assert_array_equal(label_counts.of_ids(records()), counts)
  for content in (kept.read_bytes()[:200], b'', b'\0' * 500):
    kept.write_bytes(content)
    np.testing.assert_array_equal(label_counts.of_ids(records()), counts)
    assert len(np.load(kept)['counts']) == COUNT
  np.savez(kept, counts=np.zeros((COUNT + 1, 256), np.int32))
  np.testing.assert_array_equal(label_counts.of_ids(records()), counts)
  kept.unlink()
  kept.mkdir()
  capsys.readouterr()
  np.testing.assert_array_equal(label_counts.of_ids(records()), counts)
  assert 'the next start counts again: cannot write' in capsys.readouterr().out
  assert [p.name for p in kept.parent.glob('.*')] == []


def test_a_broken_label_is_named_and_nothing_is_kept(tmp_path):
  made = [*examples()]
  made[5]['label'] = made[5]['label'][:60]
  prepared.write(tmp_path, 'gta5', SIZE, {'train': made})
  found = input_lib.open_records('gta5', SIZE, 'train', tmp_path)
  with pytest.raises(UserError, match=r'example 5 \(frame_5\) of .* used'):
    take(1, balanced(found))
  assert not [*found.path.glob('*label_counts*')]


def test_what_cannot_be_balanced_is_refused(records):
  sentence = r'^config\.source\.sampling=.* config\.source\.shuffle=False'
  with pytest.raises(UserError, match=sentence):
    take(1, balanced(records(), shuffle=False))
  without = Stream(records('test'), None, 1, sampling='class_balanced')
  with pytest.raises(UserError, match='needs labels, and the source has none'):
    take(1, without)
  with pytest.raises(UserError, match='no image of gta5, val, at 24x48, has'):
    take(1, balanced(records('val')))


@pytest.mark.parametrize('preset', ['gta5', 'synthia', 'streets'])
def test_fadas_configs_sample_and_jitter_as_its_files(preset):
  """Both stages balance the source; the second one alone jitters, none flips.

  (configs/deeplabv2_r101_src*.yaml and _adv*.yaml.)
  """
  published = preset != 'streets'
  strengths = (0.5, 0.5, 0.5, 0.2)
  for name, jitter in [('fada_source', (0.0,) * 4), ('fada', strengths)]:
    config = config_lib.load(f'{tiny.ROOT}/configs/{name}.py:{preset}')
    source = config.source
    wanted = 'class_balanced' if published else 'uniform'
    assert source.sampling == wanted and config.target.sampling == 'uniform'
    if published:
      assert source.jitter == jitter and not source.flip
      assert source.scale == (1.0, 1.0) and not any(config.target.jitter)
  distill = config_lib.load(f'{tiny.ROOT}/configs/fada_distill.py:{preset}')
  assert distill.source.sampling == 'uniform'


def test_the_setting_reaches_the_stream(records, tmp_path):
  config = config_lib.load(
    f'{tiny.ROOT}/configs/fada.py:streets',
    [
      'source.name=gta5',
      'source.size=24x48',
      'target.name=gta5',
      'target.size=24x48',
      f'data_dir={tmp_path}',
      'source.sampling=class_balanced',
      'target.sampling=class_balanced',
    ],
  )
  names = ('source', 'target')
  streams = from_config.open_streams(config, names)
  assert {s.sampling for s in streams.values()} == {'class_balanced'}
  with pytest.raises(UserError, match=r'none: set config\.target\.labels'):
    input_lib.train_batches(streams, seed=0)
  # Pseudo labels that are yet to be made will be balanced once they are there.
  pending = {'target': tmp_path / 'nothing'}
  streams = from_config.open_streams(config, names, pending)
  assert streams['target'].sampling == 'uniform'
  typed = config_lib.load(
    f'{tiny.ROOT}/configs/fada.py:streets', ['source.sampling=balanced']
  )
  with pytest.raises(UserError, match=r"source.sampling='balanced' is none of"):
    experiment.build(typed)
