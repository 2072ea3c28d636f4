"""Pieces of the self-training line against hand calculations and NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from contexts import context, outputs

from jaxuda import config as config_lib
from jaxuda import losses, methods
from jaxuda.methods import Example, _augment, _self_training
from jaxuda.models import segmenter
from jaxuda.utils.errors import UserError


@pytest.mark.parametrize(
  ('step', 'first', 'decay', 'kept'),
  [
    # Step t of the papers' framework begins with what step t - 1 left.
    (0, 2, 0.999, 0.5),
    (1, 2, 0.999, 0.6666667),
    (8, 2, 0.999, 0.9),
    (98, 2, 0.999, 0.99),
    (499, 2, 0.999, 0.9980040),
    (997, 2, 0.999, 0.9989990),
    (5000, 2, 0.999, 0.999),
    (97, 2, 0.99, 0.9898990),
    (98, 2, 0.99, 0.99),
    (0, 1, 0.99, 0.0),  # DACS: after its first step a copy
  ],
)
def test_teacher(step, first, decay, kept):
  config = tiny.config(
    'dacs', f'teacher.first={first}', f'teacher.decay={decay}'
  )
  found = _self_training.ema(config, jnp.int32(step))
  assert float(found) == pytest.approx(kept, rel=1e-6)


@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('n', [1, 2, 3, 4, 5, 10, 19, 20])
def test_half_of_the_classes_are_pasted(n, per_image):
  """Ceil(n / 2) of those that are there; the ignored ones are one of them."""
  classes = np.r_[255, 0:19][:n]
  other = np.full((8, 20), classes[0]) if per_image else np.full((8, 20), 0)
  label = np.stack([np.resize(classes, (8, 20)), other]).astype(np.uint8)
  keys = jax.random.split(jax.random.key(n), 2)
  pasted = np.asarray(
    _self_training.class_mix(jnp.asarray(label), keys, 19, per_image)
  )
  chosen = set(label[0][pasted[0]])
  batch = {*label[0].ravel(), *([] if per_image else label[1].ravel())}
  assert len(chosen) <= (len(batch) + 1) // 2
  if per_image or n > 1:
    assert len(chosen) >= (len(batch) + 1) // 2 - (0 if per_image else 1)
  # Whole classes, or none of them.
  np.testing.assert_array_equal(pasted[0], np.isin(label[0], list(chosen)))
  if per_image:
    assert pasted[1].all()  # one of one class


def test_each_class_is_pasted_alike():
  label = jnp.asarray(np.resize(np.arange(5, dtype=np.uint8), (64, 4, 5)))
  keys = jax.random.split(jax.random.key(0), 64)
  pasted = np.asarray(_self_training.class_mix(label, keys, 19, True))
  share = [pasted[np.asarray(label) == c].mean() for c in range(5)]
  np.testing.assert_allclose(share, 3 / 5, atol=0.15)


@pytest.mark.parametrize(
  ('height', 'taps'),
  [
    (64, 7), (96, 9), (128, 13), (160, 15), (192, 19), (256, 25), (384, 39),
    (512, 51), (640, 63), (768, 77), (1024, 103),
  ],
)  # fmt: skip
def test_blur_taps(height, taps):
  assert _augment.blur_taps(height) == taps


def test_gaussian():
  """Of 51 taps, whose sum is that of the whole Gaussian."""
  found = _augment.gaussian(jnp.float32(1.0), 5)
  expected = [0.00443185, 0.05399097, 0.24197072, 0.39894228, 0.24197072]
  np.testing.assert_allclose(found[2:7], expected, atol=2e-6)
  narrow = _augment.gaussian(jnp.float32(0.15), 5)
  assert float(narrow[5]) == pytest.approx(1.0, abs=1e-9)


def test_blur_reflects():
  """A Gaussian by NumPy, over an image whose border is mirrored."""
  rng = np.random.default_rng(0)
  image = rng.uniform(0, 255, (1, 128, 20, 3)).astype(np.float32)
  key = jax.random.key(3)
  sigma = float(jax.random.uniform(key, (), minval=0.15, maxval=1.15))
  found = _augment.blur(jnp.asarray(image), key[None])
  at = np.arange(-6, 7)
  weights = np.exp(-(at**2) / (2 * sigma**2))
  weights /= weights.sum()
  expected = image[0].astype(np.float64)
  for axis in (0, 1):
    pads = [(6, 6) if a == axis else (0, 0) for a in range(3)]
    wide = np.pad(expected, pads, 'reflect')
    size = expected.shape[axis]
    expected = sum(
      w * np.take(wide, np.arange(i, i + size), axis)
      for i, w in enumerate(weights)
    )
  np.testing.assert_allclose(found[0], expected, atol=0.01)


@pytest.mark.parametrize(
  ('size', 'block', 'grid'),
  [
    ((512, 512), 32, (16, 16)),
    ((1024, 1024), 64, (16, 16)),
    ((512, 512), 64, (8, 8)),
    ((192, 192), 32, (6, 6)),
    ((160, 160), 64, (2, 2)),  # halves go to the even number
  ],
)
def test_blocks_are_hidden_whole(size, block, grid):
  keys = jax.random.split(jax.random.key(1), 2)
  visible = np.asarray(_augment.block_mask(keys, size, block, 0.7))
  assert visible.shape == (2, *size)
  side = size[0] // grid[0], size[1] // grid[1]
  blocks = visible.reshape(2, grid[0], side[0], grid[1], side[1])
  assert (blocks == blocks[:, :, :1, :, :1]).all()
  if grid == (16, 16):
    assert visible.mean() == pytest.approx(0.3, abs=0.06)
    assert (visible[0] != visible[1]).any()


LOGITS = [[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 5.0]]


def test_means_over_all_pixels():
  logits = jnp.array(LOGITS)[None, None]
  label = jnp.array([[[0, 1, 255, 0]]], jnp.uint8)
  weight = jnp.array([[[1, 0.25, 0.25, 0.25]]])
  plain, pixels, weighted = (
    losses.cross_entropy(logits, label),
    losses.cross_entropy(logits, label, 'pixels'),
    losses.cross_entropy(logits, label, weight=weight),
  )
  assert plain == pytest.approx(1.86361263)
  assert pixels == pytest.approx(1.39770947)
  assert weighted == pytest.approx(0.42585349)


def test_confidence_is_a_share_of_the_batch():
  """Highest probabilities .665, .844, .333 and .987: q = 1/4."""
  config = tiny.config(
    'dacs', 'teacher.threshold=0.968', 'teacher.margins=(1,2)'
  )
  logits = jnp.broadcast_to(jnp.array(LOGITS)[None, None], (1, 5, 4, 3))
  ctx = context(config, None, {}, batch={'target': {'image': None}})
  object.__setattr__(ctx, 'predict', lambda _: outputs({'main': logits}))
  found = _self_training.pseudo_labels(ctx)
  np.testing.assert_array_equal(found.label[0, 0], [0, 1, 0, 2])
  np.testing.assert_allclose(
    found.weight[0], np.array([0, 1, 1, 0, 0])[:, None] * np.full(4, 0.25)
  )


@pytest.mark.parametrize(('pixels', 'kept'), [(768, True), (767, False)])
def test_cells_of_three_quarters(pixels, kept):
  label = np.zeros((1, 64, 96), np.uint8)
  cell = label[0, 32:, 32:64]
  cell[...] = np.where(np.arange(1024).reshape(32, 32) < pixels, 13, 0)
  found = np.asarray(
    _self_training.cells_of(jnp.asarray(label), (2, 3), [6, 13], 0.75)
  )
  expected = np.zeros((1, 2, 3), bool)
  expected[0, 1, 1] = kept
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
  ('cells', 'distance'), [((1, 0, 1), 4.0), ((0, 0, 0), 0.0)]
)
def test_feature_distance(cells, distance):
  """Differences of norms 3, 1 and 5; an empty mask gives 0, and no NaN."""
  before = jnp.zeros((1, 1, 3, 2))
  now = jnp.array([[[[3.0, 0.0], [0.0, 1.0], [3.0, 4.0]]]])
  config = tiny.config('daformer')

  def loss(now):
    given = outputs({}).replace(features={'layer4': now})
    ctx = context(config, None, {'source': given})
    extra = {'before': before, 'cells': jnp.array([[cells]], bool)}
    object.__setattr__(ctx, 'inputs', {'source': Example(None, extra=extra)})
    return _self_training.feature_distance(ctx)['feature_distance']

  value, slope = jax.value_and_grad(loss)(now)
  assert float(value) == pytest.approx(distance, abs=1e-5)
  assert np.isfinite(slope).all()
  assert np.isfinite(jax.grad(loss)(before)).all()


@pytest.mark.parametrize(
  ('override', 'sentence'),
  [
    ('grad_accum_steps=2', 'grad_accum_steps=2: the pseudo labels'),
    ('target.labels=x', 'dacs labels the target itself'),
    ('target.batch_size=2', r'source\.batch_size=4 must be config\.target'),
    ('target.size=(48,96)', r'source\.size=.* must be config\.target'),
  ],
)
def test_what_is_refused(override, sentence):
  with pytest.raises(UserError, match=sentence):
    _self_training.check(tiny.config('dacs', override))


def test_a_class_that_there_is_not():
  with pytest.raises(UserError, match="'cars' is not a class; did you mean"):
    _self_training.check(
      tiny.config('daformer', "feature_distance.classes=('bus','cars')")
    )


@pytest.mark.parametrize('host', ['advent', 'adabn', 'mean_teacher', 'dacs'])
def test_masks_go_with_any_method(host):
  """The host's inputs and terms stay; a teacher labels one input more."""
  plain = methods.load(host)
  with_masks = methods.load(f'mic+{host}')
  config = tiny.config(f'mic:on={host}', 'mask.block=32')
  assert config.method == f'mic+{host}'
  assert config_lib.flatten(config).keys() >= with_masks.settings.keys()
  batch = tiny.batch(config)

  def predict(image):
    logits = jnp.zeros((*image.shape[:3], 19)).at[..., 7].set(9.0)
    return outputs({'main': logits})

  ctx = dataclasses.replace(context(config, None, {}, batch), predict=predict)
  found = with_masks.inputs(ctx)
  assert [*found] == [*plain.inputs(ctx), 'masked']
  masked = found['masked']
  assert (masked.label == 7).all()
  np.testing.assert_allclose(masked.weight, 1.0)
  mean = jnp.array(segmenter.mean_color(config))
  hidden = jnp.isclose(masked.image, mean, atol=1e-3).all(-1)
  # Sides of 48 and 80 have two blocks of 32 each, of 64 and 96 two and three.
  _, height, width = hidden.shape
  h, w = height // 2, width // round(width / 32)
  blocks = np.asarray(hidden)[:, ::h, ::w]
  np.testing.assert_array_equal(hidden, blocks.repeat(h, 1).repeat(w, 2))
  assert blocks.any() and not blocks.all()


def test_masks_need_the_target():
  with pytest.raises(UserError, match='methods that read the target'):
    methods.load('mic+source_only')
  with pytest.raises(UserError, match='mic is added to a method'):
    methods.load('mic')
  with pytest.raises(UserError, match='nothing that is added'):
    methods.load('advent+dacs')
