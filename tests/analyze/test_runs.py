"""The analyses of runs: by loops in NumPy, and the command lines."""

import dataclasses
import functools
import io
import shutil

import jax
import numpy as np
import pytest
from analyses import analyze, picture, table
from PIL import Image

from jaxuda import experiment, labels, predict
from jaxuda import input as input_lib
from jaxuda.analyze import class_center_distance, entropy, qualitative
from jaxuda.evaluation import inference
from jaxuda.evaluation.figure_writer import Example

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def two_runs(finished_run, tmp_path_factory):
  """A finished run twice, in folders of different names."""
  folder = tmp_path_factory.mktemp('two')
  for name in ('one', 'two'):
    shutil.copytree(finished_run.workdir, folder / name)
  return [folder / 'one', folder / 'two']


@pytest.fixture(scope='module')
def run(finished_run):
  return experiment.load(finished_run.workdir)


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
  features = apply(variables, batch['image']).main_features
  features = np.asarray(features, np.float64)
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
  compute = jax.jit(
    functools.partial(inference.probabilities, net=run.net),
    static_argnames='size',
  )
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


def test_qualitative_command(two_runs, tmp_path, capsys):
  """The shares against what `predict` writes of the same images."""
  one, two = two_runs
  analyze(
    'qualitative', f'--workdirs={one},{two}', '--images=2',
    f'--output={tmp_path}',
  )  # fmt: skip
  rows = table(tmp_path / 'qualitative.csv')
  assert [r['run'] for r in rows] == ['one', 'one', 'two', 'two']
  loaded = experiment.load(one)
  split = input_lib.open_records(
    loaded.config.eval.name, loaded.config.eval.size, 'val',
    loaded.config.data_dir,
  )  # fmt: skip
  shares = []
  for row, index in zip(rows, (0, len(split) - 1), strict=False):
    found = split.parse(index)
    assert row['image'] == found['id'].decode()
    image, raw = (
      np.asarray(Image.open(io.BytesIO(found[key])))
      for key in ('image', 'label')
    )
    Image.fromarray(image).save(tmp_path / 'photo.png')
    predict.main([
      'predict', f'--workdir={one}', f'--images={tmp_path / "photo.png"}',
      f'--output={tmp_path}',
    ])  # fmt: skip
    ids = np.asarray(Image.open(tmp_path / 'photo_ids.png'))
    label = labels.id_map(split.encoding, 'cityscapes19')[raw]
    shares.append((ids == label)[label != 255].mean())
    assert float(row['right']) == pytest.approx(shares[-1], abs=1e-3)
  mean = np.mean([float(r['right']) for r in rows[:2]])
  assert f'one {mean:.1%}, two {mean:.1%}.' in capsys.readouterr().out
  picture(tmp_path / 'qualitative.png')


def test_qualitative_shows_the_scored_classes(run):
  """Of camvid11, a wall has no place and a bus counts as a car."""
  scored = dataclasses.replace(run, eval_space=labels.space('camvid11'))
  image = np.zeros((32, 64, 3), np.uint8)
  [(plain, _)] = qualitative.predict(run, [Example(image, None)])
  [(merged, _)] = qualitative.predict(scored, [Example(image, None)])
  # Of road, sidewalk, building, ...: sky is 0 in CamVid, building 1.
  places = [3, 4, 1, 255, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10]
  assert len(np.unique(plain)) > 1
  np.testing.assert_array_equal(merged, np.uint8(places)[plain])
  assert np.isnan(qualitative.share_right(merged, None))
