"""The local adversarial loss of ICIP 2020, and its mixtures."""

import jax
import numpy as np
import pytest
import tiny
from contexts import RNG, K, bce, context, normal, outputs, softmax

from jaxuda.methods import local_alignment


def local_turn(*overrides, size=(6, 9)):
  """Two images, the source larger; the upper half of its pixels is void."""
  config = tiny.config('local_alignment', *overrides)
  shown = {
    'source': outputs({'main': normal(2, 8, 12, K)}),
    'target': outputs({'main': normal(2, *size, K)}),
  }
  label = RNG.integers(0, K, (2, 8, 12)).astype(np.uint8)
  label[:, :4] = 255
  seen = []

  def discriminate(name, maps):
    assert name == 'local'
    seen.append(np.asarray(maps))
    return 3.0 * maps[..., 0] - 1.0

  return context(
    config, discriminate, shown, {'source': {'label': label}}
  ), seen


@pytest.mark.parametrize('leave_out', [True, False])
def test_the_local_game_leaves_background_out(leave_out):
  """Eq. 1 pixel by pixel: source 0 where labelled, target 1 everywhere."""
  given, _ = local_turn(
    'local.mixture=None', f'local.leave_out_background={leave_out}'
  )
  p = {k: softmax(v.logits['main']) for k, v in given.outputs.items()}
  source = 3 * p['source'][:, 4 if leave_out else 0 :, :, 0] - 1
  target = 3 * p['target'][..., 0] - 1
  expected = {
    'd_local': bce(source, 0).mean() / 2 + bce(target, 1).mean() / 2,
    'd_local/source_loss': bce(source, 0).mean(),
    'd_local/source_accuracy': np.mean(source < 0),
    'd_local/target_loss': bce(target, 1).mean(),
    'd_local/target_accuracy': np.mean(target > 0),
  }
  found = local_alignment.discriminator_losses(given)
  assert found == pytest.approx(expected, rel=1e-5)
  found = local_alignment.segmenter_losses(given)
  assert found['adv_local'] == pytest.approx(bce(target, 0).mean(), rel=1e-5)


def stretched(maps, size):
  """Bilinear with aligned corners, [B, h, w, ...] to [B, *size, ...]."""
  for axis, n in zip((1, 2), size, strict=True):
    at = np.linspace(0, maps.shape[axis] - 1, n)
    low = np.minimum(at.astype(int), maps.shape[axis] - 2)
    part = (at - low).reshape(
      [-1 if a == axis else 1 for a in range(maps.ndim)]
    )
    below, above = maps.take(low, axis), maps.take(low + 1, axis)
    maps = (1 - part) * below + part * above
  return maps


def ratio(mixed, source, target):
  """The r of r source + (1 - r) target, and how far from that line it is."""
  moved = source - target
  r = ((mixed - target) * moved).sum(-1) / (moved**2).sum(-1)
  return r, np.abs(target + r[..., None] * moved - mixed).max(-1)


def both_mixtures(given, seen):
  """What the discriminator saw, and the terms of the two networks."""
  told = local_alignment.discriminator_losses(given)['d_mixture']
  mixed = seen[-1]
  fooled = local_alignment.segmenter_losses(given)['adv_mixture']
  np.testing.assert_array_equal(seen[-1], mixed)  # the same for both networks
  return mixed, told, fooled


@pytest.mark.slow
def test_mixture_of_images():
  """One r an image; the answer wanted is 1 - r, or the source."""
  size = (7, 9)
  given, seen = local_turn('local.mixture=images', size=size)
  mixed, told, fooled = both_mixtures(given, seen)
  source, target = (
    softmax(given.outputs[k].logits['main']) for k in given.outputs
  )
  r, rest = ratio(mixed, stretched(source, size), target)
  assert rest.max() < 1e-5
  assert np.ptp(r, axis=(1, 2)).max() < 1e-3 and abs(r[0] - r[1]).min() > 1e-3
  # Row 3 lies half on background: only what is wholly foreground counts.
  answers = 3 * mixed[:, 4:, :, 0] - 1
  assert told == pytest.approx(bce(answers, 1 - r[:, 4:]).mean(), rel=1e-4)
  assert fooled == pytest.approx(bce(answers, 0).mean(), rel=1e-4)


@pytest.mark.slow
def test_mixture_of_pixels():
  """Each pixel of the target meets one of the source at an r of its own."""
  given, seen = local_turn('local.mixture=pixels')
  mixed, told, fooled = both_mixtures(given, seen)
  source, target = (
    softmax(given.outputs[k].logits['main']) for k in given.outputs
  )
  # Which pixel of the source's 96 was it? The one whose line it is on.
  pool = source.reshape(2, 1, -1, K)
  found, wanted = (x.reshape(2, -1, 1, K) for x in (mixed, target))
  r, rest = ratio(found, pool, wanted)
  met = rest.argmin(-1)
  assert rest.min(-1).max() < 1e-5
  r = np.take_along_axis(r, met[..., None], -1)[..., 0]
  assert abs(r - 0.5).min() > 0.299 and np.ptp(r) > 0.6
  assert len(np.unique(met)) > 30  # of 54 draws
  kept = met >= 4 * 12  # below the void
  assert 10 < kept.sum() < 98
  answers = (3 * mixed[..., 0] - 1).reshape(2, -1)[kept]
  assert told == pytest.approx(bce(answers, 1 - r[kept]).mean(), rel=1e-4)
  assert fooled == pytest.approx(bce(answers, 0).mean(), rel=1e-4)


@pytest.mark.slow
def test_mixing_ratios_keep_away_from_one_half():
  local = tiny.config('local_alignment').local
  r = local_alignment.mixing_ratio(jax.random.key(0), (4000,), local)
  assert r.min() >= 0 and r.max() <= 1
  assert abs(abs(r - 0.5).min() - 0.3) < 1e-6
  assert abs(float(r.mean()) - 0.5) < 0.02
  # Beta(2, 2) is further than 0.3 from one half in 2 x 0.104 of the cases.
  share = float((abs(r - 0.5) > 0.3 + 1e-6).mean())
  assert share == pytest.approx(0.208, abs=0.02)


def test_a_global_game_beside_the_local_one():
  config = tiny.config(
    'local_alignment',
    'local.global_alignment=information',
    'local.mixture=None',
  )
  assert set(local_alignment.discriminators(config)) == {'main', 'aux', 'local'}
  assert config.loss_weights.adv_main == pytest.approx(0.001)
  shown = {
    stream: outputs({'main': normal(2, 8, 8, K)})
    for stream in ('source', 'target')
  }
  batch = {'source': {'label': np.zeros((2, 8, 8), np.uint8)}}
  given = context(config, lambda name, x: 2 * x.mean((1, 2, 3)), shown, batch)
  found = local_alignment.segmenter_losses(given)
  p = softmax(shown['target'].logits['main'])
  seen = -(p * np.log(p)).mean((1, 2, 3)) / np.log(K)
  assert found['adv_main'] == pytest.approx(bce(2 * seen, 0).mean(), rel=1e-5)
