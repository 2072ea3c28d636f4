"""The adversaries that the papers compare with, by hand and by NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from contexts import RNG, K, bce, context, normal, outputs, softmax

from jaxuda import losses
from jaxuda.losses import SOURCE, TARGET
from jaxuda.methods import Example, adapt_patch, cycada, road
from jaxuda.methods import no_more_discrimination as nmd
from jaxuda.models import segmenter
from jaxuda.models.segmenter import Outputs
from jaxuda.utils.errors import UserError


def test_cycadas_losses_and_gate():
  """By hand: a half is right, and the gate of 60 % is shut."""
  outputs_of = {  # of 'target' and of 'source', at two pixels
    'source': np.array([[0, 1], [2, 0]]),
    'target': np.array([[1, 0], [0, 3]]),
  }
  answers = {
    stream: jnp.array(x[:, 0] - x[:, 1], jnp.float32).reshape(1, 1, 2)
    for stream, x in outputs_of.items()
  }
  shown = {s: outputs({'main': normal(1, 1, 2, 3)}) for s in answers}

  def discriminate(name, seen, key):
    del key
    [stream] = [s for s in answers if shown[s].logits['main'] is seen]
    return answers[stream]

  assert cycada.accuracy(*answers.values()) == 0.5
  config = tiny.config('cycada', 'gate=0.6')
  given = context(config, discriminate, shown)
  assert cycada.segmenter_losses(given)['adv_main'] == 0
  told = cycada.discriminator_losses(given)
  assert told['d_main'] == pytest.approx(1.450510, abs=1e-6)
  assert told['d_main/source_accuracy'] == told['d_main/target_accuracy'] == 0.5
  opened = context(tiny.config('cycada', 'gate=0.4'), discriminate, shown)
  found = cycada.segmenter_losses(opened)['adv_main']
  expected = bce(np.array([1, -3]), SOURCE).mean()
  assert found == pytest.approx(expected, rel=1e-6)


def test_roads_distance():
  """A difference of (3, 4) is 5; of nothing 0, with a finite slope."""
  now = jnp.array([[[[3.0, 4.0], [0.0, 0.0]]]])
  value, slopes = jax.value_and_grad(losses.feature_distance)(
    now, jnp.zeros_like(now)
  )
  assert value == pytest.approx(2.5, abs=1e-5)
  np.testing.assert_allclose(slopes[0, 0], [[0.3, 0.4], [0, 0]], atol=1e-6)


def test_roads_regions():
  """Each cell counts in its own region's output, the mean of each region."""
  logits = normal(2, 7, 11, 9)
  found = road.region_losses(jnp.array(logits), TARGET)
  expected = []
  for m in range(9):
    rows = [y for y in range(7) if y * 3 // 7 == m // 3]
    columns = [x for x in range(11) if x * 3 // 11 == m % 3]
    expected.append(bce(logits[:, rows][:, :, columns, m], TARGET).mean())
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  flat = road.region_losses(jnp.full((1, 7, 11, 9), 0.7), SOURCE)
  np.testing.assert_allclose(flat, flat[0], rtol=1e-6)
  one = road.region_losses(jnp.array(logits[..., :1]), SOURCE)
  assert one[0] == pytest.approx(bce(logits[..., 0], SOURCE).mean(), rel=1e-5)


FEATURES = {s: normal(2, 6, 8, 5) for s in ('source', 'target')}
WIDE = normal(5, 18)  # a pair for each of nine regions


def road_context(**changed):
  """Features of both domains, those of the target before training, and D."""
  config = tiny.config('road', *(f'{k}={v}' for k, v in changed.items()))
  deepest = segmenter.deepest(config)
  shown = {
    s: Outputs({'main': normal(2, 6, 8, K)}, {deepest: jnp.array(f)}, None)
    for s, f in FEATURES.items()
  }
  given = context(config, lambda name, x: x @ WIDE, shown)
  before = {'before': jnp.array(FEATURES['target'])}
  inputs = {'target': Example(None, extra=before)}
  return dataclasses.replace(given, inputs=inputs)


def of_regions(stream, domain):
  answers = FEATURES[stream] @ WIDE
  logits = jnp.array(answers[..., 9:] - answers[..., :9])
  return float(road.region_losses(logits, domain).sum())


def test_roads_two_players():
  """The target passes for the source; D tells them; reversal moves both."""
  terms = road.segmenter_losses(road_context())
  assert terms['dist'] == pytest.approx(0, abs=1e-5)  # as it started
  expected = of_regions('target', SOURCE)
  assert terms['adv_region'] == pytest.approx(expected, rel=1e-5)
  told = road.discriminator_losses(road_context())
  source, target = of_regions('source', SOURCE), of_regions('target', TARGET)
  assert told['d_region/source_loss'] == pytest.approx(source, rel=1e-5)
  assert told['d_region'] == pytest.approx((source + target) / 2, rel=1e-5)
  reversed_ = road.segmenter_losses(road_context(objective='minimax'))
  assert reversed_['adv_region'] == pytest.approx(-source - target, rel=1e-5)


def test_the_two_players_of_classes():
  """The last output is that of all cells; the target's classes are its own."""
  config = tiny.config('no_more_discrimination')
  wide = normal(5, 2 * (K + 1))
  label = RNG.integers(0, K, (2, 12, 16)).astype(np.uint8)
  label[0, :3] = 255
  shown = {
    s: outputs({'main': jnp.array(normal(2, 12, 16, K))}, jnp.array(f))
    for s, f in FEATURES.items()
  }
  given = dataclasses.replace(
    context(config, lambda name, x: x @ wide, shown),
    inputs={
      'source': Example(None, jnp.array(label)),
      'target': Example(None, jnp.zeros((2, 12, 16), jnp.uint8)),  # pseudo
    },
  )

  def losses_of(stream, domain):
    answers = FEATURES[stream] @ wide
    logits = answers[..., K + 1 :] - answers[..., : K + 1]
    if stream == 'source':
      of_pixel = (label[..., None] == np.arange(K)).astype(float)
    else:
      of_pixel = softmax(shown[stream].logits['main'])
    cells = of_pixel.reshape(2, 6, 2, 8, 2, K).sum((2, 4))
    shares = cells / np.maximum(cells.sum(-1, keepdims=True), 1e-9)
    by_class = (shares * bce(logits[..., :K], domain)).sum(-1).mean()
    return bce(logits[..., K], domain).mean(), by_class

  fooling = nmd.segmenter_losses(given)
  whole, by_class = losses_of('target', SOURCE)
  assert fooling['adv_main'] == pytest.approx(whole, rel=1e-4)
  assert fooling['adv_class'] == pytest.approx(by_class, rel=1e-4)
  told = nmd.discriminator_losses(given)
  for stream, domain in (('source', SOURCE), ('target', TARGET)):
    whole, by_class = losses_of(stream, domain)
    assert told[f'd_main/{stream}_loss'] == pytest.approx(whole, rel=1e-4)
    assert told[f'd_class/{stream}_loss'] == pytest.approx(by_class, rel=1e-4)


def test_cells_that_do_not_divide():
  """A pixel belongs to the cell in which its centre is."""
  label = RNG.integers(0, 3, (1, 7, 11)).astype(np.uint8)
  found = nmd.cell_shares(jnp.array(label), (3, 4), 3)
  for i, j in np.ndindex(3, 4):
    rows = [y for y in range(7) if int((y + 0.5) * 3 / 7) == i]
    columns = [x for x in range(11) if int((x + 0.5) * 4 / 11) == j]
    cell = label[0][np.ix_(rows, columns)]
    share = [np.mean(cell == c) for c in range(3)]
    np.testing.assert_allclose(found[0, i, j], share, atol=1e-6)


def test_the_players_of_patches():
  """The segmenter learns the source's modes, the target passes for it."""
  config = tiny.config(
    'adapt_patch',
    'modes.count=2',
    'modes.patch=(4,4)',
    'model.decoder.multi_level=False',
  )
  label = np.zeros((2, 4, 8), np.uint8)
  label[:, 2:, :4] = 1  # the left patches are of the second mode
  modes = np.zeros((2, 4, K), np.float32)
  modes[:, :, 0] = 1
  modes[1, 2:, 0], modes[1, 2:, 1] = 0, 1
  wide = normal(K, 2)
  shown = {
    s: outputs({'main': jnp.array(normal(2, 4, 8, K))}) for s in FEATURES
  }

  def discriminate(name, x):
    if name == 'modes':
      return (
        jnp.stack([x[:, :, :4].mean((1, 2)), x[:, :, 4:].mean((1, 2))], 1)[
          :, None
        ]
        @ wide
      )
    return 3 * x[..., 0] - 1 if name == 'patch' else x.mean((1, 2, 3))

  given = dataclasses.replace(
    context(config, discriminate, shown),
    inputs={'source': Example(None, jnp.array(label))},
    priors={'modes': modes.reshape(2, -1)},
  )

  def answers(stream):
    p = softmax(shown[stream].logits['main'])
    halves = (p[:, :, :4].mean((1, 2)), p[:, :, 4:].mean((1, 2)))
    return np.stack(halves, 1) @ wide  # [B, 2, modes]

  log_p = np.log(softmax(answers('source')))
  ce = -(log_p[:, 0, 1] + log_p[:, 1, 0]).mean() / 2
  fooling = adapt_patch.segmenter_losses(given)
  assert fooling['ce_patch'] == pytest.approx(ce, rel=1e-4)
  logits = {s: 3 * softmax(answers(s))[..., 0] - 1 for s in FEATURES}
  passing = bce(logits['target'], SOURCE).mean()
  assert fooling['adv_patch'] == pytest.approx(passing, rel=1e-4)
  told = adapt_patch.discriminator_losses(given)
  assert told['d_modes'] == pytest.approx(ce, rel=1e-4)
  for stream, domain in (('source', SOURCE), ('target', TARGET)):
    expected = bce(logits[stream], domain).mean()
    assert told[f'd_patch/{stream}_loss'] == pytest.approx(expected, rel=1e-4)


PATCH = np.array([[[0, 0, 0, 1], [1, 1, 255, 0]]], np.uint8)


def test_modes_of_patches():
  """2 x 4 pixels, cells of 1 x 2: (1, 0), (1/2, 1/2), (0, 1), (1, 0)."""
  cells, kept = adapt_patch.histograms(jnp.array(PATCH), 2, (2, 4))
  expected = [1, 0, 0.5, 0.5, 0, 1, 1, 0]
  np.testing.assert_allclose(cells[0, 0, 0], expected)
  assert kept.tolist() == [[[True]]]
  centres = jnp.array([expected, [0.5] * 8])
  assert adapt_patch.nearest(cells, centres).tolist() == [[[0]]]
  apart = np.square(np.array(expected) - 0.5).sum()
  assert apart == 1.5
  ignored = np.full_like(PATCH, 255)
  ignored[0, 0, :3] = 1  # three of eight pixels
  cells, kept = adapt_patch.histograms(jnp.array(ignored), 2, (2, 4))
  assert not kept.any() and not cells[0, 0, 0, 4:].any()


def test_modes_by_brute_force():
  label = RNG.integers(0, 3, (2, 9, 13)).astype(np.uint8)
  label[RNG.random(label.shape) < 0.2] = 255
  cells, _ = adapt_patch.histograms(jnp.array(label), 3, (4, 6))
  assert cells.shape == (2, 2, 2, 12)
  for b, u, v in np.ndindex(2, 2, 2):
    patch = label[b, 4 * u : 4 * u + 4, 6 * v : 6 * v + 6]
    for i, (y, x) in enumerate(np.ndindex(2, 2)):
      cell = patch[2 * y : 2 * y + 2, 3 * x : 3 * x + 3]
      known = cell[cell != 255]
      share = [np.mean(known == c) if known.size else 0 for c in range(3)]
      found = cells[b, u, v, 3 * i : 3 * i + 3]
      np.testing.assert_allclose(found, share, atol=1e-6)
  centres = normal(5, 12)
  found = adapt_patch.nearest(cells, jnp.array(centres))
  flat = np.asarray(cells).reshape(-1, 1, 12)
  expected = np.square(flat - centres).sum(-1).argmin(-1)
  np.testing.assert_array_equal(np.ravel(found), expected)


def test_modes_are_found():
  """Two kinds of patches, and two modes: each is one of them."""
  kinds = np.zeros((8, 4, 4), np.uint8)
  kinds[4:, 2:] = 1  # below another class
  labels = tiny.SourceLabels(tuple(kinds), 2)
  config = tiny.config('adapt_patch', 'modes.count=2', 'modes.patch=(4,4)')
  config.classes = 'cityscapes19'
  modes = adapt_patch.priors(config, labels)['modes']
  rows = {tuple(np.round(m.reshape(4, 19)[:, :2].ravel(), 6)) for m in modes}
  assert rows == {(1, 0, 1, 0, 1, 0, 1, 0), (1, 0, 1, 0, 0, 1, 0, 1)}
  again = adapt_patch.priors(config, labels)['modes']
  np.testing.assert_array_equal(again, modes)
  many = tiny.config('adapt_patch', 'modes.count=9', 'modes.patch=(4,4)')
  with pytest.raises(
    UserError, match=r'count=9: the source has only 8 labelled'
  ):
    adapt_patch.priors(many, labels)


@pytest.mark.parametrize(
  ('override', 'words'),
  [
    ('modes.patch=(3,4)', 'both sides must be even'),
    ('modes.patch=(98,64)', 'does not fit into the source maps'),
  ],
)
def test_patches_that_cannot_be(override, words):
  with pytest.raises(UserError, match=words):
    adapt_patch.check(tiny.config('adapt_patch', override))


def test_the_discriminator_of_modes_does_not_train_the_classifier():
  """H is trained by its own term alone, with the source's modes."""
  one_head = 'model.decoder.multi_level=False'
  weights = dict.fromkeys(tiny.weights('adapt_patch'), 0.0)
  start = tiny.first_state('adapt_patch', one_head)
  run = tiny.stepper('adapt_patch', one_head)
  batch = tiny.batch(tiny.config('adapt_patch'))
  for term, player in (('d_patch', 'patch'), ('d_modes', 'modes')):
    after, _ = run(start, batch, weights | {term: 1.0})
    moved = {
      name
      for name, params in after.discriminators.params.items()
      if not tiny.same(params, start.discriminators.params[name])
    }
    assert moved == {player}


def test_class_shares_of_cells():
  """Of {0, 0, 2, 255} two thirds are 0 and one is 2."""
  label = np.array([[[0, 0], [2, 255]]], np.uint8)
  shares = nmd.cell_shares(jnp.array(label), (1, 1), 3)
  np.testing.assert_allclose(shares[0, 0, 0], [2 / 3, 0, 1 / 3], atol=1e-6)
  nothing = np.full_like(label, 255)
  assert not nmd.cell_shares(jnp.array(nothing), (1, 1), 3).any()


def test_the_loss_of_each_class():
  """Logits (0, ln 3) of 'source', shares of one half: 0.490415."""
  logits = -jnp.array([[[[0.0, np.log(3)]]]])
  half = jnp.full((1, 1, 1, 2), 0.5)
  found = nmd.class_loss(logits, half, SOURCE)
  assert found == pytest.approx(0.490415, abs=1e-6)
  one = jnp.array(normal(2, 3, 4, 1))
  everything = nmd.class_loss(one, jnp.ones_like(one), TARGET)
  assert everything == pytest.approx(bce(one, TARGET).mean(), rel=1e-5)
  assert nmd.class_loss(logits, jnp.zeros_like(half), SOURCE) == 0
