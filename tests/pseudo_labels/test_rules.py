"""Rules of pseudo labels against naive forms of the originals, in NumPy."""

import csv
import json
import pathlib

import jax
import numpy as np
import pytest

from jaxuda.models.decoders import deeplab_v2
from jaxuda.models.segmenter import Outputs
from jaxuda.pseudo_labels import (
  labeller,
  rules,
  spatial_prior,
  statistics,
)
from jaxuda.utils.errors import UserError

CLASSES, SIZE = 5, (9, 11)  # the last class is never the likeliest


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return (e / e.sum(-1, keepdims=True)).astype(np.float32)


def probabilities():
  """f32[6, 9, 11, 5], some of them equal."""
  rng = np.random.default_rng(0)
  logits = np.round(rng.standard_normal((6, *SIZE, CLASSES)), 1)
  logits += [2, 1, 0.5, 0, -30]  # classes differ in how sure they are
  return softmax(logits)


P = probabilities()
LABEL, CONFIDENCE = P.argmax(-1).astype(np.uint8), P.max(-1)


def thresholds(chosen, label=LABEL, confidence=CONFIDENCE, classes=CLASSES):
  def iterate():
    return zip(label, confidence, strict=True)

  return rules.thresholds(iterate, classes, chosen)


@pytest.mark.parametrize(
  ('count', 'index'), [*enumerate([0, 1, 2, 2, 2, 3, 4, 4, 4], 1)]
)
def test_index_of_bdls_median(count, index):
  """np.round(n / 2) of n sorted confidences, for n = 1 to 9."""
  values = np.linspace(0.2, 0.85, count, dtype=np.float32)
  confidence = np.random.default_rng(count).permutation(values)[None]
  label = np.zeros_like(confidence, np.uint8)
  found = thresholds(rules.settings('median', {}), [label], [confidence], 2)
  assert found.tolist() == [values[index], 0]  # an absent class has 0


def naive_bdl(portion=0.5, cap=0.9):
  limits = []
  for c in range(CLASSES):
    mine = np.sort(CONFIDENCE[c == LABEL])
    at = int(np.round(len(mine) * portion))
    limits.append(min(mine[min(at, len(mine) - 1)], cap) if len(mine) else 0)
  return np.array(limits, np.float64)


@pytest.mark.parametrize(('portion', 'cap'), [(0.5, 0.6), (0.3, 1), (1, 1)])
def test_median(portion, cap):
  chosen = rules.settings('median', {'portion': portion, 'cap': cap})
  limits = thresholds(chosen)
  np.testing.assert_array_equal(limits, naive_bdl(portion, cap))
  assert limits[-1] == 0 and len(set(limits)) > 2


def naive_crst(portion, stride):
  limits = np.ones(CLASSES)
  for c in range(CLASSES):
    mine = []
    for label, confidence in zip(LABEL, CONFIDENCE, strict=True):
      mine.extend(confidence[label == c][::stride])
    mine.sort(reverse=True)
    count = int(np.floor(len(mine) * portion))
    if count:
      limits[c] = mine[count - 1]
  return limits


@pytest.mark.parametrize(
  ('portion', 'stride'), [(0.2, 4), (0.5, 1), (1, 3), (0.001, 1)]
)
def test_balanced(portion, stride):
  chosen = rules.settings('balanced', {'portion': portion, 'stride': stride})
  limits = thresholds(chosen)
  np.testing.assert_array_equal(limits, naive_crst(portion, stride))
  assert limits[-1] == 1
  assert (limits == 1).all() == (portion == 0.001)


def test_global_has_one_threshold():
  """By hand: the third of six; class by class it is the second, the first."""
  label = np.array([[0, 0, 0, 0, 1, 1]], np.uint8)
  confidence = np.array([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]], np.float32)
  found = {}
  for rule in ('global', 'balanced'):
    chosen = rules.settings(rule, {'portion': 0.5, 'stride': 1})
    found[rule] = thresholds(chosen, [label], [confidence], 2)
  np.testing.assert_allclose(found['global'], [0.7, 0.7])
  np.testing.assert_allclose(found['balanced'], [0.8, 0.5])
  kept = confidence >= found['global'][label]
  assert kept.tolist() == [[True, True, True, False, False, False]]


def test_global_by_sorting():
  """Every fourth pixel of each class and image, all of them sorted."""
  chosen = rules.settings('global', {'portion': 0.3})
  pool = [
    value
    for label, confidence in zip(LABEL, CONFIDENCE, strict=True)
    for c in range(CLASSES)
    for value in confidence[label == c][::4]
  ]
  expected = sorted(pool, reverse=True)[int(0.3 * len(pool)) - 1]
  assert thresholds(chosen).tolist() == [expected] * CLASSES
  everything = thresholds(chosen | {'portion': 1.0, 'stride': 1})
  assert everything.tolist() == [CONFIDENCE.min()] * CLASSES
  one = np.zeros_like(LABEL)  # of one class it is the balanced rule
  alike = [
    thresholds(rules.settings(rule, {}), one, CONFIDENCE, 1).tolist()
    for rule in ('global', 'balanced')
  ]
  assert alike[0] == alike[1]


def test_argmax_keeps_everything():
  limits = thresholds(rules.settings('argmax', {}))
  assert limits.tolist() == [0] * CLASSES


def test_order_statistics_of_close_values():
  """Neighbouring floats, zeros and ones; every rank of each class."""
  rng = np.random.default_rng(1)
  near = np.float32(0.7) + np.arange(40) * np.float32(2**-24)
  values = np.concatenate([near, [0, 0, 1, 1, 1e-30], rng.random(55)])
  values = values.astype(np.float32)
  label = rng.integers(0, 2, 100).astype(np.uint8)
  sizes = np.bincount(label)
  for rank in range(sizes.min()):
    found = rules.order_statistics(
      lambda: [(label[:50], values[:50]), (label[50:], values[50:])],
      lambda counts, rank=rank: np.full_like(counts, rank),
      2,
    )
    expected = [np.sort(values[label == c])[rank] for c in (0, 1)]
    assert found.tolist() == expected


class Net:
  """A segmenter whose parameters are its logits."""

  align_corners = True
  decoder = deeplab_v2.Decoder(CLASSES, (), (), 0, summed=False)

  def apply(self, variables, image, train):
    del image, train
    return Outputs({'main': variables['params']}, {}, '')


def predict(p, limits, soft=0.0, prior=None):
  """Return labeller.predict_one of a network whose probabilities are p."""
  found = labeller.predict_one(
    np.log(p)[None],
    {},
    np.zeros((1, *SIZE, 3), np.uint8),
    np.float32(limits),
    prior,
    soft=soft,
    net=Net(),
    size=SIZE,
  )
  return jax.tree.map(np.asarray, found)


def test_the_label_of_balanced():
  """argmax_c p_c / threshold_c, ignored where that is below 1."""
  limits = naive_crst(0.2, 4)
  moved = 0
  for p in P:
    found = predict(p, limits)
    ratio = p / limits
    top = np.sort(ratio, -1)
    sure = (top[..., -1] - top[..., -2] > 1e-4) & (abs(top[..., -1] - 1) > 1e-4)
    np.testing.assert_array_equal(found['label'][sure], ratio.argmax(-1)[sure])
    np.testing.assert_array_equal(
      found['passes'][sure], (ratio.max(-1) >= 1)[sure]
    )
    mine = np.take_along_axis(p, ratio.argmax(-1)[..., None], -1)[..., 0]
    np.testing.assert_allclose(found['confidence'][sure], mine[sure], rtol=1e-5)
    assert sure.mean() > 0.9
    moved += (found['label'] != p.argmax(-1)).sum()
  assert moved > 10


def test_a_spatial_prior_multiplies():
  """CBST-SP: (0.6, 0.4) by (0.2, 0.5) is (0.12, 0.20), not normalised."""
  p = np.full((*SIZE, CLASSES), 1e-9, np.float32)
  p[..., :2] = 0.6, 0.4
  prior = np.zeros((3, 4, CLASSES), np.float32)  # and enlarged
  prior[..., :2] = 0.2, 0.5
  found = predict(p, np.ones(CLASSES), prior=prior)
  assert (found['label'] == 1).all()
  np.testing.assert_allclose(found['confidence'], 0.2, rtol=1e-5)
  flat = np.full((*SIZE, CLASSES), 0.3, np.float32)
  for one in P:
    plain, weighed = (
      predict(one, np.ones(CLASSES), prior=each) for each in (None, flat)
    )
    np.testing.assert_array_equal(weighed['label'], plain['label'])
    np.testing.assert_allclose(
      weighed['confidence'], 0.3 * plain['confidence'], rtol=1e-5
    )


def test_the_prior_of_places():
  """A class's sum is 1, but for the largest value of all, which is."""
  counts = np.zeros((3, 8, 10), np.int32)
  counts[0, 6:], counts[1, 2, 3] = 4, 1  # the third is nowhere
  prior = spatial_prior.smoothed(counts, 1.0)
  assert prior.shape == (8, 10, 3) and prior.max() == 1
  assert not prior[..., 2].any()
  sums = prior.sum((0, 1))
  assert sums[0] == pytest.approx(sums[1], rel=1e-5)
  assert np.unravel_index(prior[..., 1].argmax(), (8, 10)) == (2, 3)
  # One step from a single pixel: exp(-1/2), but for what is cut far away.
  ratio = prior[2, 4, 1] / prior[2, 3, 1]
  assert ratio == pytest.approx(np.exp(-0.5), rel=1e-3)
  sharp = spatial_prior.smoothed(counts, 1e-3)
  np.testing.assert_allclose(sharp[6:, :, 0], 1 / 20, rtol=1e-6)


def test_entropy_of_an_image():
  p = P[0]
  expected = -(p * np.log(p)).sum(-1).mean() / np.log(CLASSES)
  assert predict(p, np.ones(CLASSES))['entropy'] == pytest.approx(
    expected, rel=1e-5
  )


def test_soft_labels_of_lrent():
  """CRST's scores, as label_selection has them, in float64."""
  alpha, limits = 0.25, naive_crst(0.2, 4)
  for p in np.float64(P):
    found = predict(np.float32(p), limits, alpha)
    soft = (p / limits) ** (1 / alpha)
    soft /= soft.sum(-1, keepdims=True)
    entropy = soft * np.log(soft + 1e-300)
    reg_score = (-soft * np.log(p + 1e-300) + alpha * entropy).sum(-1)
    sel_score = (-soft * np.log(limits)).sum(-1)
    clear = abs(reg_score - sel_score) > 1e-5
    passes = (reg_score < sel_score)[clear]
    np.testing.assert_array_equal(found['passes'][clear], passes)
    assert 0.1 < passes.mean() < 0.9
    shares = found['soft'].reshape(CLASSES, *SIZE)  # map below map
    np.testing.assert_allclose(
      shares / 255, np.moveaxis(soft, -1, 0), atol=0.51 / 255
    )


def test_the_summary(tmp_path):
  """Of counts that can be checked by eye."""
  summary = statistics.Summary(3)
  label = np.array([[0, 0, 1]], np.uint8)
  confidence = np.array([[0.8, 0.4, 0.96]], np.float32)
  summary.add(label, confidence, np.array([[True, False, True]]))
  rows = summary.rows(['road', 'wall', 'sky'], np.array([0.5, 0.9, 1.0]))
  road, wall, sky, everything = rows
  assert road['predicted'] == 2 and road['kept_share'] == 0.5
  assert road['mean_confidence'] == pytest.approx(0.6)
  assert (road['above_0.5'], road['above_0.9']) == (0.5, 0)
  assert (wall['above_0.95'], wall['above_0.99']) == (1, 0)
  assert sky['kept_share'] is None and sky['threshold'] == 1
  assert everything['class'] == 'all' and everything['kept'] == 2
  statistics.write(tmp_path, rows)
  written = (tmp_path / 'coverage.csv').read_text().splitlines()
  assert written[0].startswith(
    'class,threshold,predicted,kept,kept_share,mean_'
  )
  assert written[3] == 'sky,1.0,0,0,,,,,,,'  # no share of nothing
  assert written[4].startswith('all,,3,2,')
  with open(tmp_path / 'coverage.csv') as file:
    read = [list(row.values()) for row in csv.DictReader(file)]
  empty_for_none = [
    ['' if value is None else str(value) for value in row.values()]
    for row in rows
  ]
  assert read == empty_for_none
  limits = json.loads((tmp_path / 'thresholds.json').read_text())
  assert limits == {'road': 0.5, 'wall': 0.9, 'sky': 1.0}


@pytest.mark.parametrize(
  ('rule', 'given', 'words'),
  [
    ('best', {}, "rule='best' is none of argmax, median, balanced"),
    ('argmax', {'cap': 0.5}, 'cap=0.5 is a setting of median; the rule argmax'),
    ('median', {'stride': 4}, 'stride=4 is a setting of balanced and global'),
    (
      'global',
      {'soft': 0.2},
      'soft=0.2 is a setting of balanced; the rule glo',
    ),
    ('median', {'portion': 1.5}, 'portion=1.5 must be at least 0.0 and'),
    ('median', {'upsample': 'prob'}, "upsample='prob' is none of logits, prob"),
    ('balanced', {'scales': ()}, r'scales=\(\) must be one or more numbers'),
    ('balanced', {'flip': 1}, 'flip=1 must be True or False, or None'),
    ('balanced', {'stride': 0}, 'stride=0 must be at least 1'),
  ],
)
def test_settings_that_cannot_be(rule, given, words):
  with pytest.raises(UserError, match=words):
    rules.settings(rule, given)


def test_none_is_the_rules_own_value():
  own = rules.settings('balanced', {})
  assert rules.settings('balanced', {'scales': None, 'stride': None}) == own


def test_folders_are_named_by_what_they_hold():
  def name(size, rule, **given):
    chosen = rules.settings(rule, given)
    folder = rules.default_folder('run', 'streets/city', size, chosen)
    assert folder.parent == pathlib.Path('run/pseudo_labels')
    return folder.name

  assert name((96, 192), 'median') == 'streets-city-96x192-median'
  assert name(None, 'median', cap=0.8) == 'streets-city-full-median-cap=0.8'
  assert name((9, 9), 'balanced', scales=(0.5, 1.0), soft=0.25) == (
    'streets-city-9x9-balanced-scales=0.5,1.0-soft=0.25'
  )
