"""Losses against numbers that torch 2.13 gives, and at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda import losses

# logits[c, h, w] = ((7 c + 3 h + 5 w) mod 11) / 4 - 1, here as [1, h, w, c].
H, W, C = np.mgrid[0:2, 0:2, 0:3]
LOGITS = (((7 * C + 3 * H + 5 * W) % 11) / 4 - 1)[None].astype(np.float32)
LABEL = np.array([[[0, 2], [255, 1]]], np.uint8)
ANSWERS = np.array([[[-1, 0], [0.5, 2]]], np.float32)


def test_the_input_is_the_fixtures():
  assert LOGITS[0, 0, 0].tolist() == [-1.0, 0.75, -0.25]
  assert LOGITS[0, 1, 1].tolist() == [1.0, 0.0, -1.0]


def test_cross_entropy_over_valid_pixels():
  assert losses.cross_entropy(LOGITS, LABEL) == pytest.approx(1.36296499)


def test_cross_entropy_is_a_mean_over_the_batch():
  """Over the valid pixels of all images together, not of image means."""
  two = np.concatenate([LOGITS, 2 * LOGITS])
  labels = np.concatenate([LABEL, np.array([[[255, 255], [255, 0]]], 'u1')])
  z = 2 * np.float64(LOGITS[0, 1, 1])
  other = np.log(np.exp(z).sum()) - z[0]
  expected = (3 * 1.36296499 + other) / 4
  assert losses.cross_entropy(two, labels) == pytest.approx(expected)


def test_gradient_of_cross_entropy():
  """(softmax - one-hot) / count where valid, nothing where ignored."""
  z = np.float64(LOGITS)
  p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
  expected = (p - np.eye(3)[np.where(LABEL == 255, 0, LABEL)]) / 3
  expected[0, 1, 0] = 0
  gradient = jax.grad(losses.cross_entropy)(jnp.array(LOGITS), LABEL)
  np.testing.assert_allclose(gradient, expected, atol=1e-7)


def test_nothing_but_ignored_pixels():
  label = np.full_like(LABEL, 255)
  value, gradient = jax.value_and_grad(losses.cross_entropy)(
    jnp.array(LOGITS), label
  )
  assert value == 0
  np.testing.assert_array_equal(gradient, np.zeros_like(LOGITS))


def test_clans_focal_loss():
  assert losses.cross_entropy(LOGITS, LABEL, focal_gamma=2.0) == pytest.approx(
    0.86607748
  )


@pytest.mark.parametrize('gamma', [0.01, 0.5, 0.9])
def test_focal_gradients_below_one(gamma):
  """By central differences; finite where a pixel is certain or ignored."""
  logits = np.concatenate([LOGITS, np.full_like(LOGITS, -100)])
  logits[1, ..., 0] = 100  # certain of class 0, in float32 to the last bit
  label = np.concatenate([LABEL, np.array([[[0, 255], [0, 0]]], 'u1')])

  def loss(x):
    return losses.cross_entropy(x, label, focal_gamma=gamma)

  gradient = jax.grad(loss)(jnp.array(logits))
  assert np.isfinite(gradient).all() and not gradient[1].any()
  assert not gradient[0, 1, 0].any()
  for at in ((0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 1, 2)):
    step = np.zeros_like(logits)
    step[at] = 0.01
    numeric = (loss(logits + step) - loss(logits - step)) / 0.02
    assert gradient[at] == pytest.approx(float(numeric), rel=0.01)


def test_entropy_of_the_least_certain_pixels():
  """Of four pixels the two of the highest entropy, in each image."""
  z = np.float64(LOGITS)
  p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
  each = -(p * np.log(p)).sum(-1).ravel() / np.log(3)
  two = np.concatenate([LOGITS, LOGITS[:, ::-1]])
  found = losses.entropy(two, share=0.5)
  assert found == pytest.approx(np.sort(each)[2:].mean())


def test_class_prior_by_hand():
  """Shares of 0.5, 0.25 and 0.25 against what is asked for."""
  logits = np.log([[[[0.6, 0.2, 0.2], [0.4, 0.3, 0.3]]]]).astype(np.float32)
  asked = np.array([0.1, 0.35, 0.3])
  found = losses.class_prior(logits, asked)
  assert found == pytest.approx(0.1 + 0.05, abs=1e-6)
  assert losses.class_prior(logits, np.zeros(3)) == 0


def test_cross_entropy_of_large_logits():
  logits = jnp.array([[[[1e4, -1e4, 0.0]]]])
  label = np.array([[[1]]], np.uint8)
  value, gradient = jax.value_and_grad(losses.cross_entropy)(logits, label)
  assert value == pytest.approx(2e4)
  assert gradient.ravel().tolist() == [1.0, -1.0, 0.0]


def test_domain_loss():
  assert losses.domain_loss(ANSWERS, 0.0) == pytest.approx(1.02685356)
  assert losses.domain_loss(ANSWERS, 1.0) == pytest.approx(0.65185350)
  # AdaptSegNet's and ADVENT's labels.
  assert (losses.SOURCE, losses.TARGET) == (0, 1)


def test_lsgan():
  """AdaptSegNet's --gan LS: squares of the raw answers."""
  assert losses.domain_loss(ANSWERS, 0.0, 'lsgan') == pytest.approx(1.3125)
  assert losses.domain_loss(ANSWERS, 1.0, 'lsgan') == pytest.approx(1.5625)


def test_entropy():
  assert losses.entropy(LOGITS) == pytest.approx(0.78923750)
  assert losses.entropy(jnp.zeros((1, 2, 2, 5))) == pytest.approx(1)
  sure = jnp.array([[[[1e4, 0.0, -1e4]]]])
  value, gradient = jax.value_and_grad(losses.entropy)(sure)
  assert value == 0 and np.isfinite(gradient).all()


def test_the_temperature_is_inside_the_cross_entropy():
  """FADA divides the logits by 1.8 also for the segmentation loss."""
  loss = losses.cross_entropy(LOGITS / 1.8, LABEL)
  assert loss == pytest.approx(1.18391597)


OTHER = np.array([[[1, 1], [0, 255]]], np.uint8)


def test_crst():
  """CE over both domains' pixels, and w^2 = 0.01 of MRKLD on the target's."""
  count = jnp.float32(6)
  terms = [
    losses.cross_entropy(LOGITS, LABEL, 'all', count),
    losses.cross_entropy(LOGITS / 2, OTHER, 'all', count),
    0.01 * losses.smoothness(LOGITS / 2, OTHER),
  ]
  assert sum(terms[:2]) == pytest.approx(1.33205974)
  assert sum(terms) == pytest.approx(1.34368241)
  nothing = np.full_like(OTHER, 255)
  value, gradient = jax.value_and_grad(losses.smoothness)(
    jnp.array(LOGITS), nothing
  )
  assert value == 0 and not gradient.any()


@pytest.mark.parametrize(
  ('loss', 'expected'),
  [
    (losses.squared_length, 0.375),
    (losses.negative_entropy, -1.039721),
    (losses.smoothness, 1.155245),
  ],
)
def test_crsts_regularisers(loss, expected):
  """By hand at p = (1/2, 1/4, 1/4); least where p is uniform; 0 of nothing."""
  logits = np.log([[[[0.5, 0.25, 0.25], [0.9, 0.05, 0.05]]]]).astype('f4')
  label = np.array([[[1, 255]]], np.uint8)  # the second pixel has none
  value, gradient = jax.value_and_grad(loss)(jnp.array(logits), label)
  assert value == pytest.approx(expected, abs=1e-6)
  assert gradient[0, 0, 0].any() and not gradient[0, 0, 1].any()
  flat = jax.grad(loss)(jnp.zeros((1, 1, 2, 3)), label)
  np.testing.assert_allclose(flat, 0, atol=1e-7)
  nothing = np.full_like(label, 255)
  value, gradient = jax.value_and_grad(loss)(jnp.array(logits), nothing)
  assert value == 0 and not gradient.any()

  def of_the_first(x):  # central differences, in float64
    p = np.exp(x) / np.exp(x).sum()
    return {
      losses.squared_length: (p**2).sum(),
      losses.negative_entropy: (p * np.log(p)).sum(),
      losses.smoothness: -np.log(p).mean(),
    }[loss]

  at, step = np.float64(logits[0, 0, 0]), 1e-6 * np.eye(3)
  slopes = [(of_the_first(at + s) - of_the_first(at - s)) / 2e-6 for s in step]
  _, gradient = jax.value_and_grad(loss)(jnp.array(logits), label)
  np.testing.assert_allclose(gradient[0, 0, 0], slopes, atol=1e-5)


def test_soft_labels():
  """-sum y log p; those of one class are hard labels."""
  hard = 255 * np.eye(3, dtype=np.uint8)[np.where(LABEL == 255, 0, LABEL)]
  loss = losses.cross_entropy(LOGITS, LABEL, soft=hard)
  assert loss == pytest.approx(1.36296499)
  soft = np.array([[[[51, 102, 102]] * 2] * 2], np.uint8)
  log_p = np.float64(LOGITS) - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
  expected = -(log_p @ [0.2, 0.4, 0.4])[LABEL != 255].mean()
  loss = losses.cross_entropy(LOGITS, LABEL, soft=soft)
  assert loss == pytest.approx(expected)
  # A factor does not matter: shares are rounded and do not add up to 255.
  loss = losses.cross_entropy(LOGITS, LABEL, soft=soft // 3)
  assert loss == pytest.approx(expected)


def test_class_domain_loss():
  """FADA's discriminator at 0.3 and -0.2 times the logits, clipped at 0.9."""
  answer = jnp.concatenate([0.3 * LOGITS, -0.2 * LOGITS], -1)
  p = jax.nn.softmax(LOGITS / 1.8)
  knowledge = jnp.minimum(p, 0.9)
  on_source = losses.class_domain_loss(answer, knowledge, losses.SOURCE)
  on_target = losses.class_domain_loss(answer, knowledge, losses.TARGET)
  assert on_source == pytest.approx(1.68759823)
  assert on_target == pytest.approx(1.90871120)
  # What is clipped is not normalised again.
  half = losses.class_domain_loss(answer, jnp.minimum(p, 0.5), losses.SOURCE)
  assert half == pytest.approx(1.66880500)


def test_domain_loss_of_sure_answers():
  sure = jnp.array([-1e4, 1e4])
  value, gradient = jax.value_and_grad(losses.domain_loss)(sure, 1.0)
  assert value == pytest.approx(5e3)
  assert gradient.tolist() == [-0.5, 0.0]
