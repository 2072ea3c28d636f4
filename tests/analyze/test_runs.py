"""The analyses of runs: by loops in NumPy, and the command lines."""

import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny
from analyses import (
  analyze,
  finished,
  picture,
  table,
)

from jaxuda import experiment
from jaxuda import input as input_lib
from jaxuda.analyze import (
  class_center_distance,
  entropy,
)
from jaxuda.evaluation import inference
from jaxuda.utils.errors import UserError

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
  compute = inference.jitted_probabilities(run.net, run.config.eval.upsample)
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
