"""The analyses: values by hand and by loops in NumPy, and the command lines."""

import csv
import dataclasses
import io
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import prepared
import pytest
import tiny
import tiny_runs
from PIL import Image

from jaxuda import config as config_lib
from jaxuda import evaluate, labels, runs, scores
from jaxuda import input as input_lib
from jaxuda.analyze import __main__ as command
from jaxuda.analyze import (
  _classifier,
  _label_maps,
  class_center_distance,
  domain_similarity,
  entropy,
)
from jaxuda.errors import UserError
from jaxuda.models import resnet18

SIZE = (16, 32)
ROAD, SKY, BUILDING, CAR = 7, 23, 11, 26  # ids of label files
BY_INDEX = np.array([c.cityscapes for c in labels.CLASSES], np.uint8)


def analyze(*arguments):
  return command.main(['analyze', *map(str, arguments)])


def table(path):
  with open(path, newline='') as file:
    return list(csv.DictReader(file))


def picture(path):
  """A figure as u8[H, W, 3]; fails on a blank page."""
  pixels = np.asarray(Image.open(path).convert('RGB'))
  assert min(pixels.shape[:2]) > 200
  assert len(np.unique(pixels @ (1 << 16, 1 << 8, 1))) > 20
  return pixels


def write_maps(folder, spec, counts, draw):
  """A prepared dataset of label maps draw(rng) of raw ids."""

  def examples(split, count):
    rng = np.random.default_rng(len(spec) * 100 + len(split))
    image = np.zeros((*SIZE, 3), np.uint8)
    return [
      prepared.example(f'{split}_{i}', image, draw(rng)) for i in range(count)
    ]

  splits = {split: examples(split, n) for split, n in counts.items()}
  prepared.write(folder, spec, SIZE, splits)


def blocks(*ids):
  """Label maps of random 4x4 blocks of these raw ids."""

  def draw(rng):
    small = rng.choice(np.array(ids, np.uint8), (SIZE[0] // 4, SIZE[1] // 4))
    return small.repeat(4, 0).repeat(4, 1)

  return draw


@pytest.fixture(scope='module')
def maps(tmp_path_factory):
  """Domains of few maps: game and city differ, gta5 is as game."""
  folder = tmp_path_factory.mktemp('maps')
  counts = {'train': 24, 'val': 20}
  write_maps(folder, 'streets/game', counts, blocks(ROAD, ROAD, ROAD, SKY))
  write_maps(folder, 'streets/city', counts, blocks(ROAD, CAR, CAR, 0))
  write_maps(folder, 'gta5', {'train': 44}, blocks(ROAD, ROAD, ROAD, SKY))
  return folder


def raw_ids(folder, spec, split):
  """u8[N, H, W] as stored."""
  found = records(folder, spec, split)
  pngs = [found.parse(i)['label'] for i in range(len(found))]
  return np.stack([np.asarray(Image.open(io.BytesIO(p))) for p in pngs])


def records(folder, spec, split='train'):
  return input_lib.open_records(spec, SIZE, split, folder)


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
  with tiny_runs.quick_compiles():
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
  with tiny_runs.quick_compiles():
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
  assert 'Chance is 50, which 20 + 20 maps tell to 16 points' in said


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


# ---------------------------------------------------- runs of a tiny network


@pytest.fixture(scope='module')
def two_runs(finished_run, tmp_path_factory):
  """A finished run, and a copy of it whose head is scaled: it is certain."""
  folder = tmp_path_factory.mktemp('two')
  for name in ('one', 'two'):
    shutil.copytree(finished_run.workdir, folder / name)
  return [folder / 'one', folder / 'two']


@pytest.fixture(scope='module')
def run(finished_run):
  return runs.load(finished_run.workdir)


def test_distances_are_those_of_a_double_loop():
  rng = np.random.default_rng(0)
  x = rng.normal(5, 1, (300, 6)) + 3 * rng.normal(size=(300, 1))
  y = rng.integers(0, 5, 300)
  y[y == 3] = 4  # class 3 has no features
  moments = class_center_distance.Moments(0, 0, 0)
  for part in np.array_split(np.arange(300), 7):
    sums = []
    for c in range(5):
      members = x[part][y[part] == c]
      mean = members.mean(0) if len(members) else 0
      around = np.square(members - mean).sum()
      sums.append((len(members), members.sum(0), around))
    moments = class_center_distance.add(
      moments, *map(np.array, zip(*sums, strict=True))
    )
  within, ccd = class_center_distance.distances(moments)
  for i in range(5):
    if i == 3:
      assert np.isnan(within[i]) and np.isnan(ccd[i])
      continue
    expected_within, ratios = naive(x, y, i)
    assert within[i] == pytest.approx(expected_within, rel=1e-9)
    assert ccd[i] == pytest.approx(np.mean(ratios), rel=1e-9)


def naive(x, y, i):
  """V of class i, and its ratio for each other class that is there."""
  mine = x[y == i]
  mu = mine.mean(0)
  within = np.mean([np.sum((each - mu) ** 2) for each in mine])
  ratios = [
    within / np.sum((mu - x[y == j].mean(0)) ** 2)
    for j in np.unique(y)
    if j not in (i, 255)
  ]
  return within, ratios


def test_moments_do_not_lose_small_distances_to_float32():
  # Around 1e3 float32 squares are off by 0.06; the distances here are 1e-4.
  x = np.float32(1e3) + np.float32([0.0, 0.0078125])[:, None]
  y = jax.numpy.zeros(2, jax.numpy.uint8)
  count, total, around = class_center_distance.class_sums(x, y, 1)
  moments = class_center_distance.add(
    class_center_distance.Moments(0, 0, 0), count, total, around
  )
  within = moments.square / moments.count - (moments.total[:, 0] / 2) ** 2
  np.testing.assert_allclose(within, 0.00390625**2, rtol=1e-3)


def test_class_center_distance_of_a_run(run):
  """The streaming pass against all features of the split at once."""
  found = class_center_distance.measure(run, 'target', 2000, seed=0)
  split = input_lib.open_records(
    run.config.eval.name, run.config.eval.size, 'val', run.config.data_dir
  )
  batch = next(
    iter(
      input_lib.eval_batches(
        split, space=run.config.classes, batch_size=len(split)
      )
    )
  )
  variables = {'params': run.params, 'batch_stats': run.batch_stats}
  apply = jax.jit(lambda v, x: run.net.apply(v, x, train=False))
  features = np.asarray(apply(variables, batch['image'])[1], np.float64)
  # 32x64 pixels, features of 5x9: aligned corners, 31/4 and 63/8 pixels apart.
  assert features.shape[1:3] == (5, 9)
  rows = [round(i * 31 / 4) for i in range(5)]
  columns = [round(j * 63 / 8) for j in range(9)]
  y = batch['label'][:, rows][:, :, columns].ravel()
  x = features.reshape(-1, features.shape[-1])
  within, ccd = class_center_distance.distances(found)
  there = np.unique(y[y != 255])
  np.testing.assert_array_equal(np.flatnonzero(found.count), there)
  for i in there:
    assert found.count[i] == (y == i).sum()
    expected, ratios = naive(x, y, i)
    assert within[i] == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert ccd[i] == pytest.approx(np.mean(ratios), rel=1e-3, abs=1e-6)


def test_class_center_distance_command(two_runs, tmp_path, capsys):
  one, two = two_runs
  analyze(
    'class_center_distance', f'--workdirs={one},{two}', '--domains=both',
    '--images=4', f'--output={tmp_path}',
  )  # fmt: skip
  rows = table(tmp_path / 'class_center_distance.csv')
  assert len(rows) == 2 * 19
  halves = [[r['ccd'] for r in rows if r['run'] == n] for n in ('one', 'two')]
  assert halves[0] == halves[1]
  # 4 of the 6 images of the source and all 3 of the target, of 45 cells each.
  assert sum(int(r['features']) for r in rows[:19]) <= 7 * 45
  assert sum(int(r['features']) for r in rows[:19]) > 3 * 45
  picture(tmp_path / 'class_center_distance.png')
  mean = np.mean([float(v) for v in halves[0] if v])
  assert f'one {mean:.2f}, two {mean:.2f}' in capsys.readouterr().out


def test_entropy_is_that_of_the_probabilities(run):
  split = input_lib.open_records(
    run.config.eval.name, run.config.eval.size, 'val', run.config.data_dir
  )
  compute = evaluate.jitted_probabilities(run.net, run.config.eval.upsample)
  found = dict(entropy.measure(run, split))
  for batch in input_lib.eval_batches(
    split, space=run.config.classes, batch_size=1
  ):
    p = compute(run.params, run.batch_stats, batch['image'], size=(32, 64))
    p = np.asarray(p[0], np.float64)
    e = -(p * np.log(p)).sum(-1) / np.log(19)
    [label], [name] = batch['label'], batch['id']
    for i in [*range(19), 255]:
      pixels, total, right = found[name][min(i, 19)]
      here = label == i
      assert pixels == here.sum()
      np.testing.assert_allclose(total, e[here].sum(), rtol=1e-4, atol=1e-4)
      assert abs(right - (p.argmax(-1)[here] == i).sum()) <= 1
    np.testing.assert_allclose(
      found[name][21], [label.size, e.sum(), (p.argmax(-1) == label).sum()],
      rtol=1e-3,
    )  # fmt: skip
    assert found[name][20, 0] == (label != 255).sum()


def test_entropy_command(two_runs, tmp_path, capsys):
  one, two = two_runs
  analyze('entropy', f'--workdirs={one},{two}', f'--output={tmp_path}')
  rows = table(tmp_path / 'entropy.csv')
  whole = [r for r in rows if r['class'] == 'all']
  assert len(whole) == 2 * 3 and whole[0]['pixels'] == str(32 * 64)
  labelled = [r for r in rows if r['class'] == 'labelled' and r['run'] == 'one']
  pixels, values = (
    np.array([float(r[k]) for r in labelled]) for k in ('pixels', 'entropy')
  )
  mean = (pixels * values).sum() / pixels.sum()
  assert f'one {mean:.3f} (' in capsys.readouterr().out
  picture(tmp_path / 'entropy.png')


# ------------------------------------------------------ what runs have written


def finished(folder, config, miou, counts=None):
  """A folder that says that a run is finished with this score."""
  if counts is None:
    counts = np.eye(19, dtype=np.int64)
  found = scores.score(counts, 4, 'cityscapes19', None)
  found = dataclasses.replace(found, means={'mIoU': miou})
  folder.mkdir(parents=True)
  content = config_lib.to_json(config)
  (folder / 'config.json').write_text(json.dumps(content))
  scores.write_json(folder / 'scores.json', scores.to_json(found))
  return folder


def test_confusion_command(tmp_path, capsys):
  config = tiny.config('advent_patch')
  before, after = np.diag(np.full(19, 100)), np.diag(np.full(19, 100))
  before[1, :2] = 75, 25  # sidewalk as road
  after[1, :2] = 30, 70
  before[16] = after[16] = 0  # no train
  folders = [
    finished(tmp_path / name, config, 0.5, counts)
    for name, counts in (('a', before), ('b', after))
  ]
  analyze(
    'confusion', f'--workdirs={folders[0]},{folders[1]}',
    f'--output={tmp_path / "out"}',
  )  # fmt: skip
  rows = table(tmp_path / 'out' / 'confusion.csv')
  cells = {(r['run'], r['class'], r['prediction']): r for r in rows}
  assert len(rows) == 2 * 19 * 19
  assert cells['a', 'sidewalk', 'road']['share'] == '0.75'
  assert cells['b', 'sidewalk', 'road']['pixels'] == '30'
  assert cells['b', 'train', 'train']['share'] == ''
  said = capsys.readouterr().out
  # 17 classes are found always: (17 + 1/4) / 18 and (17 + 7/10) / 18.
  assert 'a 95.8 %, b 98.3 %' in said
  assert 'sidewalk as road -45, sidewalk as sidewalk +45' in said
  two = picture(tmp_path / 'out' / 'confusion.png')
  analyze('confusion', f'--workdirs={folders[0]}', f'--output={tmp_path}')
  one = picture(tmp_path / 'confusion.png')
  assert two.shape[1] > 2.5 * one.shape[1]
  assert 'sidewalk as road 75' in capsys.readouterr().out


def test_patch_size_command(tmp_path, capsys):
  values = {(16, 0): 20, (16, 1): 22, (32, 0): 25, (32, 1): 28, (None, 0): 19}
  folders = [
    finished(
      tmp_path / f'{size}-{seed}',
      tiny.config('advent_patch', f'patch.size={size}', f'seed={seed}'),
      value / 100,
    )
    for (size, seed), value in reversed(values.items())
  ]
  controls = [
    finished(
      tmp_path / f'adabn-{seed}', tiny.config('adabn', f'seed={seed}'), miou
    )
    for seed, miou in enumerate((0.25, 0.26))
  ]
  arguments = (
    'patch_size', f'--workdirs={",".join(map(str, folders))}',
    f'--controls={",".join(map(str, controls))}',
    f'--output={tmp_path / "out"}',
  )  # fmt: skip
  analyze(*arguments)
  rows = table(tmp_path / 'out' / 'patch_size.csv')
  assert [(r['patch_size'], r['seed'], r['mIoU']) for r in rows][-3:] == [
    ('whole', '0', '0.19'),
    ('adabn', '0', '0.25'),
    ('adabn', '1', '0.26'),
  ]
  said = capsys.readouterr().out
  # Standard deviations (n - 1): sqrt(2) and 3 / sqrt(2).
  assert '16 21.0 ± 1.4, 32 26.5 ± 2.1, whole 19.0; best 32, as' in said
  # sqrt(2.12^2 + 1.41^2) = 2.5 < 5.5, and sqrt(2.12^2 + 0.71^2) = 2.2 > 1.
  assert "+5.5 points from that of 16, beyond the seeds' spread" in said
  assert (
    "+1.0 points from that of adabn (25.5 ± 0.7), within the seeds' spread"
    in said
  )
  assert 'note' not in said
  picture(tmp_path / 'out' / 'patch_size.png')

  longer = finished(
    tmp_path / 'longer', tiny.config('advent_patch', 'steps=9'), 0.1
  )
  analyze(
    'patch_size', f'--workdirs={folders[1]},{longer}', f'--output={tmp_path}'
  )
  assert 'note: the runs differ in steps, too: 400, 9' in (
    capsys.readouterr().out
  )
  with pytest.raises(UserError, match=r'adabn-0 is a run of adabn'):
    analyze('patch_size', f'--workdirs={controls[0]}', f'--output={tmp_path}')
  twice = finished(
    tmp_path / 'twice',
    tiny.config('advent_patch', 'patch.size=16', 'seed=1'),
    0.1,
  )
  both = f'{folders[3]},{twice}'
  with pytest.raises(UserError, match='and the seed of another run'):
    analyze('patch_size', f'--workdirs={both}', f'--output={tmp_path}')


# ------------------------------------------------------------- bad input


@pytest.mark.parametrize(
  'arguments, sentence',
  [
    ([], 'usage: .*NAME, one of class_center_distance, confusion'),
    (['entrpy'], "no experiment 'entrpy'; did you mean 'entropy'"),
    (['_common'], "no experiment '_common'"),
    (['confusion', '--nonsense=1'], 'nonsense'),
    (['confusion', 'more'], "unexpected argument 'more'"),
    (['confusion'], '--workdirs=RUN,RUN is needed'),
    (['confusion', '--workdirs=no/run'], 'no/run has no scores.json'),
    (['confusion', '--workdirs=a,a'], 'names a folder twice'),
    (['entropy', '--workdirs=no/run'], 'no/run is not a run'),
    (['entropy', '--workdirs=x', '--images=0'], 'images'),
    (['domain_classifier', '--patches=97'], 'from 1 to 96'),
    (['domain_classifier', '--patches=a'], 'from 1 to 96'),
    (['domain_classifier', '--size=full'], '--size must be HxW'),
    (['domain_classifier', '--encoding=rgb'], 'encoding'),
    (['domain_similarity', '--source=gta'], "did you mean 'gta5'"),
    (
      ['domain_similarity', '--source=crosscity/rome', '--classes=crosscity13'],
      '--source_size=HxW of crosscity/rome is needed',
    ),
    (['domain_similarity', '--source=synthia'], '--classes is needed'),
    (['domain_similarity', '--classes=x', '--data_dir=.'], 'class space'),
  ],
)
def test_bad_input_gives_a_sentence(arguments, sentence, tmp_path):
  if len(arguments) > 0:
    arguments = [*arguments, f'--output={tmp_path / "out"}']
  with pytest.raises(UserError, match=sentence):
    analyze(*arguments)
  assert not list((tmp_path / 'out').glob('*'))


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


def test_help_is_quick_and_complete():
  code = (
    'import sys; from jaxuda.analyze import __main__ as m, names\n'
    'm.main(["x", "--help"])\n'
    'for n in names(): m.main(["x", n, "--help"])\n'
    'print([m for m in ("tensorflow", "matplotlib") if m in sys.modules])'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  ).stdout
  assert out.splitlines()[-1] == '[]'
  assert '--workdirs' in out and '--encoding' in out and 'Eq. 9' in out
  assert str(pathlib.Path.cwd()) not in out
