"""The analyses of label maps: by hand, and the command lines."""

import jax
import numpy as np
import prepared
import pytest
import tiny
from analyses import (
  CAR,
  ROAD,
  SIZE,
  SKY,
  analyze,
  blocks,
  finished,
  picture,
  raw_ids,
  records,
  table,
  write_maps,
)
from PIL import Image

from jaxuda import input as input_lib
from jaxuda.analyze import (
  _classifier,
  _label_maps,
  domain_similarity,
)
from jaxuda.models import resnet18
from jaxuda.utils.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def maps(tmp_path_factory):
  """Domains of few maps: game and city differ, gta5 is as game."""
  folder = tmp_path_factory.mktemp('maps')
  counts = {'train': 24, 'val': 20}
  write_maps(folder, 'streets/game', counts, blocks(ROAD, ROAD, ROAD, SKY))
  write_maps(folder, 'streets/city', counts, blocks(ROAD, CAR, CAR, 0))
  write_maps(folder, 'gta5', {'train': 44}, blocks(ROAD, ROAD, ROAD, SKY))
  return folder


# ------------------------------------------------------------- label maps


def test_label_batches_are_the_labels_of_the_examples(maps):
  found = records(maps, 'streets/city', 'val')
  given = dict(records=found, space='cityscapes19')
  [*first, last] = input_lib.label_batches(
    **given, indices=[3, 0, 19, 7, 7], batch_size=2
  )
  got = np.concatenate([*first, last])
  assert len(last) == 1 and got.dtype == np.uint8
  whole = next(iter(input_lib.eval_batches(**given, batch_size=20)))['label']
  np.testing.assert_array_equal(got, whole[[3, 0, 19, 7, 7]])
  assert set(np.unique(got)) == {0, 13, 255}


def test_a_broken_label_is_named(tmp_path):
  good, bad = prepared.noise(0), prepared.noise(1, label=b'no picture')
  prepared.write(tmp_path, 'streets/game', prepared.SIZE, {'val': [good, bad]})
  found = input_lib.open_records('streets/game', prepared.SIZE, 'val', tmp_path)
  batches = input_lib.label_batches(
    found, space='cityscapes19', indices=[0, 1], batch_size=1
  )
  next(batches)
  with pytest.raises(UserError, match=r'example 1 \(frame_1\)'):
    next(batches)


@pytest.mark.parametrize('size', [(7, 5), (40, 64), (16, 32), (3, 100)])
def test_resize_is_pillows_nearest(size):
  label = np.random.default_rng(0).integers(0, 19, SIZE, np.uint8)
  expected = Image.fromarray(label).resize(size[::-1], Image.NEAREST)
  got = _label_maps.resize(label[None], size)
  np.testing.assert_array_equal(got[0], expected)


def test_fill_by_hand():
  v = 255
  label = np.array([[v, 1, v, v], [v, v, v, 2], [v, 3, v, v], [v, 4, v, v]])
  # Columns first: in the second 1 1 3 4, as row 1 is as near to 1 as to 3 and
  # takes the one above; the fourth is all 2. The others take a neighbour.
  expected = [[1, 1, 1, 2], [1, 1, 1, 2], [3, 3, 3, 2], [4, 4, 4, 2]]
  maps = np.stack([label, np.full((4, 4), v)]).astype(np.uint8)
  filled = _label_maps.fill(maps)
  assert filled[0].tolist() == expected
  assert (filled[1] == v).all()


def test_a_patch_is_cut_and_enlarged():
  look = _label_maps.Look(SIZE, 4, 'cityscapes19', 'one_hot', 'class')
  label = np.random.default_rng(0).integers(0, 19, (1, *SIZE), np.uint8)
  label[0, :3] = 255
  patches = []
  for y in range(SIZE[0] - 3):
    for x in range(SIZE[1] - 3):
      cut = Image.fromarray(label[0, y : y + 4, x : x + 4])
      patches.append(np.asarray(cut.resize(SIZE[::-1], Image.NEAREST)))
  at = set()
  for key in jax.random.split(jax.random.key(0), 6):
    seen = np.asarray(look(label, key[None]))[0]
    assert seen.shape == (*SIZE, 20) and (seen.sum(-1) == 1).all()
    ids = np.where(seen[..., 19] == 1, 255, seen.argmax(-1))
    [place] = [i for i, p in enumerate(patches) if np.array_equal(p, ids)]
    at.add(place)
  assert len(at) > 1


def test_codes_by_hand():
  codes = _label_maps.codes
  one_hot = codes('camvid11', 'one_hot', 'filled')
  np.testing.assert_array_equal(one_hot, np.eye(12)[:, :11])
  np.testing.assert_array_equal(
    codes('camvid11', 'one_hot', 'class'), np.eye(12)
  )
  ids = codes('camvid11', 'ids', 'class')
  np.testing.assert_allclose(ids[:, 0], np.arange(12) / 11)
  # camvid11 begins with sky, (70, 130, 180).
  colors = codes('camvid11', 'colors', 'class')
  np.testing.assert_allclose(colors[0] * 255, [70, 130, 180], rtol=1e-6)
  np.testing.assert_array_equal(colors[11], 0)


def test_resnet18_has_the_published_parameters():
  def init():
    image = np.zeros((1, 224, 224, 3), np.float32)
    return resnet18.ResNet18(1000).init(jax.random.key(0), image, train=False)

  params = jax.eval_shape(init)['params']
  assert sum(p.size for p in jax.tree.leaves(params)) == 11_689_512


# ------------------------------------------------------ domain classifier


def pair_of(folder, other):
  """The maps of streets/game and of another domain."""
  every = np.arange(44)
  game = records(folder, 'streets/game')
  domains = [
    _classifier.Maps(
      game, every[:24], records(folder, 'streets/game', 'val'), every[:20]
    )
  ]
  if other == 'gta5':
    same = records(folder, other)
    domains.append(_classifier.Maps(same, every[:24], same, every[24:]))
  else:
    val = records(folder, other, 'val')
    domains.append(
      _classifier.Maps(records(folder, other), every[:24], val, every[:20])
    )
  return domains


def errors(folder, other):
  """The errors of a classifier of streets/game and another domain."""
  look = _label_maps.Look(SIZE, None, 'cityscapes19', 'one_hot', 'filled')
  return _classifier.train(
    look,
    pair_of(folder, other),
    width=4,
    lr=0.02,
    batch_size=8,
    iterations=16,
    every=10,
    seed=0,
  )


def test_classifier_separates_what_differs_and_not_what_does_not(maps):
  apart = errors(maps, 'streets/city')
  equal = errors(maps, 'gta5')
  assert len(apart) == len(equal) == 2  # after 10 and after 16 steps
  assert apart[-1] < 0.05
  assert 0.3 < equal[-1] < 0.7  # 40 maps: 0.5 by 2.5 standard errors


def test_error_of_one_pixel_by_hand(maps):
  game, city = (raw_ids(maps, f'streets/{d}', 'val') for d in ('game', 'city'))
  apart = (game == SKY).mean() + (city == CAR).mean() + (city == 0).mean()
  apart += (game == ROAD).mean() - (city == ROAD).mean()  # game has more
  look = _label_maps.Look(SIZE, None, 'cityscapes19', 'one_hot', 'class')
  found = _classifier.error_of_one_pixel(
    look, pair_of(maps, 'streets/city'), batch_size=8
  )
  # A guess errs in 1/2, less a quarter of how far the shares are apart.
  assert found == pytest.approx(0.5 - apart / 4)


def test_domain_classifier_command(maps, tmp_path, capsys):
  analyze(
    'domain_classifier', f'--data_dir={maps}', f'--output={tmp_path}',
    '--source_size=16x32', '--target_size=16x32', '--size=16x32',
    '--patches=4', '--runs=2', '--iterations=5', '--every=2', '--width=4',
    '--lr=0.02', '--batch_size=8',  # as above, where it is compiled
  )  # fmt: skip
  rows = table(tmp_path / 'domain_classifier.csv')
  assert [row['iteration'] for row in rows[:3]] == ['2', '4', '5']
  assert {row['seen'] for row in rows} == {'whole map', 'patches of 4'}
  assert {row['run'] for row in rows} == {'0', '1'} and len(rows) == 12
  assert all(0 <= float(row['error']) <= 1 for row in rows)
  picture(tmp_path / 'domain_classifier.png')
  said = capsys.readouterr().out
  last = [float(r['error']) for r in rows if r['iteration'] == '5'][:2]
  mean, sd = 100 * np.mean(last), 100 * np.std(last, ddof=1)
  assert f'whole map {mean:.1f} ± {sd:.1f}, patches of 4' in said
  # Two standard errors of a mean of two rates of 1/2, of 20 maps each.
  assert 'Chance is 50 ± 16 with 20 + 20 maps' in said


# ------------------------------------------------------ domain similarity


def test_divergence_by_hand():
  p, q = np.array([0.5, 0.5, 0, 0]), np.array([0.5, 0, 0.5, 0])
  # m = (1/2, 1/4, 1/4, 0): half of 1/2 log2(2) for each of the two classes.
  terms = domain_similarity.divergence_terms(p, q)
  np.testing.assert_allclose(terms, [0, 0.25, 0.25, 0])
  far = domain_similarity.divergence_terms(np.eye(2)[0], np.eye(2)[1])
  assert far.sum() == 1
  rng = np.random.default_rng(0)
  p, q = rng.dirichlet(np.ones(19), 2)
  m = (p + q) / 2
  expected = sum(
    pc * np.log2(pc / mc) / 2 + qc * np.log2(qc / mc) / 2
    for pc, qc, mc in zip(p, q, m, strict=True)
  )
  terms = domain_similarity.divergence_terms(p, q)
  np.testing.assert_allclose(terms.sum(), expected, rtol=1e-12)
  assert (terms >= 0).all()


def test_domain_similarity_command(maps, tmp_path, capsys):
  analyze(
    'domain_similarity', f'--data_dir={maps}', f'--output={tmp_path}',
    '--source_size=16x32', '--target_size=16x32', '--target_split=val',
  )  # fmt: skip
  rows = {r['class']: r for r in table(tmp_path / 'domain_similarity.csv')}
  game = raw_ids(maps, 'streets/game', 'train')
  city = raw_ids(maps, 'streets/city', 'val')
  assert float(rows['sky']['streets/game train']) == pytest.approx(
    (game == SKY).mean(), abs=1e-6
  )
  labelled = city[city != 0]
  assert float(rows['car']['streets/city val']) == pytest.approx(
    (labelled == CAR).mean(), abs=1e-6
  )
  assert float(rows['car']['streets/game train']) == 0
  picture(tmp_path / 'domain_similarity.png')
  said = capsys.readouterr().out
  total = sum(float(r['divergence_bits']) for r in rows.values())
  assert f'{total:.4f} bits' in said
  assert f'Not labelled: 0.0% and {(city == 0).mean():.1%}' in said


def test_bad_data_gives_a_sentence(maps, tmp_path):
  given = [
    f'--data_dir={maps}', f'--output={tmp_path / "out"}',
    '--source_size=16x32', '--target_size=16x32',
  ]  # fmt: skip
  gta5 = [
    '--source=gta5',
    '--classes=cityscapes19',
    '--size=16x32',
    '--width=4',
  ]
  with pytest.raises(UserError, match=r'gta5 has 44 maps and no val split'):
    analyze('domain_classifier', *given, *gta5, '--holdout=44')
  with pytest.raises(UserError, match=r"no split 'tune'; it has train, val"):
    analyze('domain_similarity', *given, '--target_split=tune')
  folder = tmp_path / 'file'
  folder.write_text('')
  with pytest.raises(UserError, match=r'--output=.*file.* is not writable'):
    analyze('domain_similarity', *given, f'--output={folder / "x"}')
  a = finished(tmp_path / 'a', tiny.config('advent_patch'), 0.5)
  (a / 'scores.json').write_text('{"classes"')
  with pytest.raises(UserError, match=r'scores\.json is damaged'):
    analyze('confusion', f'--workdirs={a}', f'--output={tmp_path / "out"}')


def test_held_out_maps_are_not_trained_on(maps):
  from jaxuda.analyze import _common, domain_classifier

  pair = _common.Pair(
    ('gta5', 'streets/city'), (SIZE, SIZE), 'cityscapes19', maps
  )
  gta5 = domain_classifier._split(pair, 0, 10)
  both = np.concatenate([gta5.train_indices, gta5.val_indices])
  assert sorted(both) == list(range(44)) and len(gta5.val_indices) == 10
  city = domain_classifier._split(pair, 1, 500)
  assert city.val.split == 'val' and len(city.val_indices) == 20
