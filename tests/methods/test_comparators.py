"""What the papers compare with and has no discriminator, by hand values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from contexts import RNG, context, normal, outputs, softmax

from jaxuda import losses
from jaxuda.methods import fda, mcd, minent, pycda
from jaxuda.models import layers
from jaxuda.utils.errors import UserError

# Two pixels of two classes, as two heads see them.
HEADS = {
  'main': np.array([[[[0, np.log(3)], [0, 0]]]], np.float32),
  'aux': np.array([[[[0, 0], [np.log(4), 0]]]], np.float32),
}


def test_mcds_discrepancy():
  """Probabilities (1/4, 3/4), (1/2, 1/2) and (1/2, 1/2), (4/5, 1/5)."""
  assert mcd.discrepancy(HEADS) == pytest.approx(0.275, abs=1e-6)
  swapped = {'main': HEADS['aux'], 'aux': HEADS['main']}
  assert mcd.discrepancy(swapped) == pytest.approx(0.275, abs=1e-6)
  slopes = jax.grad(lambda main: mcd.discrepancy(HEADS | {'main': main}))(
    HEADS['main']
  )
  expected = [[-0.09375, 0.09375], [-0.125, 0.125]]
  np.testing.assert_allclose(slopes[0, 0], expected, atol=1e-6)
  alike = {'main': HEADS['main'], 'aux': HEADS['main']}
  value, slopes = jax.value_and_grad(mcd.discrepancy)(alike)
  assert value == 0 and not slopes['main'].any()


def test_mcd_needs_two_heads_on_one_map():
  with pytest.raises(UserError, match='two heads on one map'):
    mcd.check(tiny.config('mcd', 'model.decoder.shared_features=False'))


@functools.cache
def slopes_of_mcd(term):
  """The gradients of one of its terms: of the encoder, and of both heads."""
  weights = dict.fromkeys(tiny.weights('mcd'), 0.0) | {term: 1.0}
  plain = ('optim.weight_decay=0.0', 'optim.momentum=0.0')
  start = tiny.first_state('mcd', *plain)
  after, _ = tiny.stepper('mcd', *plain)(
    start, tiny.batch(tiny.config('mcd')), weights
  )
  before, params = start.segmenter.params, after.segmenter.params
  moved = jax.tree.map(lambda new, old: np.asarray(new - old), params, before)
  decoder = moved['decoder']
  return {
    'encoder': moved['encoder'],
    'heads': {name: decoder[name] for name in ('layer5', 'layer6')},
  }


def has_moved(tree):
  return any(leaf.any() for leaf in jax.tree.leaves(tree))


@pytest.mark.slow
def test_mcds_terms_train_one_side_each():
  """With steps of plain SGD: exactly nothing on the other side."""
  encoder, heads, ce = map(
    slopes_of_mcd, ('mcd_encoder', 'mcd_heads', 'ce_heads')
  )
  assert has_moved(encoder['encoder']) and not has_moved(encoder['heads'])
  assert has_moved(heads['heads']) and not has_moved(heads['encoder'])
  assert has_moved(ce['heads']) and not has_moved(ce['encoder'])


def test_fda_of_one_channel():
  """The worked example: four rows against tens and one bright pixel."""
  source = np.array(
    [[1, 2, 3, 4], [5, 6, 7, 8], [1, 1, 1, 1], [0, 2, 0, 2]], np.float32
  )
  target = np.full((4, 4), 10, np.float32)
  target[0, 0] = 26
  given = (x[None, :, :, None] for x in (source, target))
  source_, target_ = given
  mean = fda.transfer(source_, target_, 0.0, 'centred')[0, ..., 0]
  np.testing.assert_allclose(mean, source + 8.25, atol=1e-4)
  found = fda.transfer(source_, target_, 0.25, 'centred')[0, ..., 0]
  expected = [
    [6.6120, 7.6120, 13.4404, 14.4404],
    [10.0153, 11.0153, 16.8437, 17.8437],
    [10.0596, 10.0596, 8.8880, 8.8880],
    [9.6563, 11.6563, 8.4847, 10.4847],
  ]
  np.testing.assert_allclose(found, expected, atol=1e-3)
  assert found.mean() == pytest.approx(11, abs=1e-4)
  corners = fda.transfer(source_, target_, 0.0, 'corners')[0, ..., 0]
  np.testing.assert_allclose(corners, source, atol=1e-4)


def numpy_corners(source, target, b):
  """torch 1's form in NumPy: four corners, and the left half is inverted."""
  ours, theirs = np.fft.fft2(source), np.fft.fft2(target)
  amplitude, phase = np.abs(ours), np.angle(ours)
  for rows in (slice(0, b), slice(-b, None)):
    for columns in (slice(0, b), slice(-b, None)):
      amplitude[rows, columns] = np.abs(theirs)[rows, columns]
  mixed = amplitude * np.exp(1j * phase)
  return np.fft.irfft2(mixed[:, : source.shape[1] // 2 + 1], s=source.shape)


def numpy_centred(source, target, b):
  ours, theirs = (np.fft.fftshift(np.fft.fft2(x)) for x in (source, target))
  y, x = (n // 2 for n in source.shape)
  amplitude = np.abs(ours)
  window = np.s_[y - b : y + b + 1, x - b : x + b + 1]
  amplitude[window] = np.abs(theirs)[window]
  mixed = amplitude * np.exp(1j * np.angle(ours))
  found = np.fft.ifft2(np.fft.ifftshift(mixed))
  assert np.abs(found.imag).max() < 1e-9
  return found.real


@pytest.mark.parametrize('window', ['centred', 'corners'])
def test_fda_by_numpy(window):
  images = RNG.integers(0, 256, (2, 2, 24, 40, 3)).astype(np.uint8)
  source, target = images
  found = fda.transfer(source, target, 0.13, window)  # b = 3
  by_hand = {'centred': numpy_centred, 'corners': numpy_corners}[window]
  for i in range(2):
    for c in range(3):
      pair = (np.float64(x[i, ..., c]) for x in (source, target))
      np.testing.assert_allclose(found[i, ..., c], by_hand(*pair, 3), atol=2e-3)
  own = fda.transfer(source, source, 0.13, 'centred')
  np.testing.assert_allclose(own, source, atol=0.03)
  assert abs(found.mean() - target.mean()) < 0.1


def test_fdas_entropy():
  """(H^2 + 1e-8)^2: 0.0625 at one half, 1 where nothing is known."""
  config = tiny.config('fda')
  uniform = np.zeros((1, 1, 2, 4), np.float32)

  def term(logits, step=0):
    shown = {'target': outputs({'main': jnp.array(logits)})}
    given = context(config, None, shown, step=jnp.array(step))
    return fda.robust_entropy(given)['ent_main']

  assert term(uniform) == pytest.approx(1.0, rel=1e-5)
  half = np.full((1, 1, 1, 4), -1e9, np.float32)
  half[..., :2] = 0  # two of four classes: ln 2 / ln 4
  assert term(half) == pytest.approx(0.0625, rel=1e-5)
  later = tiny.config('fda', 'robust.first_step=3')
  shown = {'target': outputs({'main': uniform})}
  for step, expected in ((2, 0.0), (3, 1.0)):
    given = context(later, None, shown, step=jnp.array(step))
    found = fda.robust_entropy(given)['ent_main']
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
  ('override', 'words'),
  [
    ('source.batch_size=8', r'source\.batch_size=8 and .*target\.batch_size=4'),
    ('source.crop=(48,96)', r'one size, .*\(48, 96\) and \(96, 192\)'),
  ],
)
def test_fda_refuses_what_is_no_pair(override, words):
  with pytest.raises(UserError, match=words):
    fda.check(tiny.config('fda', override))


def test_pycdas_boxes():
  """Logits are averaged, not probabilities: (1.5, 0.5)."""
  logits = np.array([[[[2, 0], [0, 1]], [[3, 0], [1, 1]]]], np.float32)
  pooled = layers.box_means(jnp.array(logits), (2, 2))
  np.testing.assert_allclose(pooled, [[[[1.5, 0.5]]]])
  loss = pycda.own_labels([pooled], 0.5)
  assert loss == pytest.approx(0.313262, abs=1e-6)
  of_probabilities = softmax(logits).mean((1, 2))[0].max()
  assert -np.log(of_probabilities) == pytest.approx(0.4299, abs=1e-4)
  odd = normal(1, 7, 9, 2)
  found = layers.box_means(jnp.array(odd), (3, 4))
  assert found.shape == (1, 2, 2, 2)
  last = odd[0, 3:6, 4:8].mean((0, 1))
  np.testing.assert_allclose(found[0, 1, 1], last, rtol=1e-5)


def test_pycdas_labels_of_several_maps():
  maps = [2 * normal(2, 6, 8, 5), 2 * normal(2, 3, 4, 5)]
  p = np.concatenate([softmax(m).reshape(-1, 5) for m in maps]).max(-1)
  kept = p > 0.5
  assert 0 < kept.mean() < 1
  found, slopes = jax.value_and_grad(pycda.own_labels)(maps, 0.5)
  assert found == pytest.approx(-np.log(p[kept]).mean(), rel=1e-5)
  unsure = softmax(maps[0]).max(-1) <= 0.5
  assert not np.asarray(slopes[0])[unsure].any()
  assert pycda.own_labels([jnp.zeros((1, 2, 2, 5))], 0.5) == 0
  pixels = pycda.own_labels([maps[0]], 0.0)
  every = -np.log(softmax(maps[0]).max(-1)).mean()
  assert pixels == pytest.approx(every, rel=1e-5)


def test_pycdas_balance():
  """Predicted (0.7, 0.3), expected (0.6, 0.4): 0.695592 for each class."""
  logits = np.log(np.array([[[[0.6, 0.4], [0.8, 0.2]]]], np.float32))
  found = pycda.balance(jnp.array(logits), jnp.array([0.6, 0.4]))
  assert found == pytest.approx(0.695592, abs=1e-5)


def test_shares_of_the_source():
  labels = tiny.SourceLabels(
    (np.array([[0, 0, 1]], np.uint8), np.array([[1, 255, 255]], np.uint8)), 3
  )
  config = tiny.config('pycda')
  np.testing.assert_allclose(
    pycda.priors(config, labels)['shares'], [0.5, 0.5, 0]
  )


def test_the_layout_of_curriculum_adaptation():
  """The sharpened histogram (0.400041, 0.599959) against (1/4, 3/4)."""
  p = np.array([[0.5, 0.5], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]], np.float32)
  logits = jnp.log(p)[None, None]
  found = losses.layout(logits, jnp.array([0.25, 0.75]))
  assert found == pytest.approx(0.612218, abs=1e-5)


def test_class_sizes():
  """Between 0.2 and 0.4 nothing; 0.1 below and 0.1 above cost 0.01."""
  usual = (jnp.array([0.1, 0.0]), jnp.array([0.2, 0.0]), jnp.array([0.4, 1.0]))
  for share, expected in ((0.1, 0.01), (0.3, 0.0), (0.5, 0.01)):
    logits = jnp.log(jnp.array([[[[share, 1 - share]]]]))
    found = losses.class_sizes(logits, *usual)
    assert found == pytest.approx(expected, abs=1e-6)
  large = (jnp.array([0.11, 0.0]), *usual[1:])
  logits = jnp.log(jnp.array([[[[0.1, 0.9]]]]))
  assert losses.class_sizes(logits, *large) == pytest.approx(0.001, abs=1e-6)
  rare = (jnp.array([0.1, 0.0]), jnp.array([0.2, 0.0]), usual[2])
  absent = jnp.log(jnp.array([[[[0.009, 0.991]]]]))
  assert losses.class_sizes(absent, *rare) == 0


def test_the_priors_of_sizes():
  """Of the images that have a class; one that is nowhere has nothing."""
  counts = np.array([[2, 0, 8], [5, 0, 5], [0, 0, 10], [0, 0, 0]])

  class Labels:
    class_counts = counts

  assert minent.priors(tiny.config('minent'), Labels) == {}
  config = tiny.config('minent', 'prior.sizes=True')
  found = minent.priors(config, Labels)
  np.testing.assert_allclose(found['shares'], [0.7 / 3, 0, 2.3 / 3], rtol=1e-6)
  np.testing.assert_allclose(found['mean'], [0.35, 0, 2.3 / 3], rtol=1e-6)
  tenth = np.percentile([0.2, 0.5], 10)
  np.testing.assert_allclose(found['tenth'][:2], [tenth, 0], rtol=1e-6)
