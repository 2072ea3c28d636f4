"""FADA's encodings, the semantics of ASS, and CLAN's weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import tiny
from contexts import RNG, K, bce, context, normal, outputs, softmax

from jaxuda import config as config_lib
from jaxuda import experiment, losses
from jaxuda.evaluation import inference
from jaxuda.methods import _adversarial as adversarial
from jaxuda.methods import _views as views
from jaxuda.methods import adaptsegnet, ass, clan, fada
from jaxuda.utils.errors import UserError


def test_paper_004_aligns_the_source_with_the_target():
  """Eq. 2: the generator's loss is that of calling the source target."""
  shown = {
    stream: outputs({'main': normal(2, 8, 8, 5)})
    for stream in ('source', 'target')
  }
  config = tiny.config('ass_global', 'model.decoder.multi_level=False')
  see = {k: softmax(v.logits['main'])[..., 0].mean() for k, v in shown.items()}
  given = context(config, lambda name, x: 2 * x[..., 0].mean() - 1, shown)
  term = adaptsegnet.segmenter_losses(given)['adv_main']
  assert term == pytest.approx(bce(2 * see['source'] - 1, 1), rel=1e-5)
  seen = views.segmentations(shown['target'])
  back = adversarial.adversarial_losses(given, seen)['adv_main']
  assert back == pytest.approx(bce(2 * see['target'] - 1, 0), rel=1e-5)


def test_encodings_of_class_knowledge():
  """FADA, Eqs. 7 and 8, of one sure, one unsure and one split pixel."""
  p = np.array([[[[0.97, 0.02, 0.01], [0.5, 0.3, 0.2], [0.0, 0.1, 0.9]]]])
  logits = jnp.log(jnp.array(p) + 1e-12)
  soft, kept = fada.encode(logits, 'soft', 0.9)
  np.testing.assert_allclose(soft, np.minimum(p, 0.9), atol=1e-5)
  assert kept.all()
  hard, kept = fada.encode(logits, 'hard', 0.89)
  assert hard.argmax(-1).tolist() == [[[0, 0, 2]]]
  assert kept.tolist() == [[[True, False, True]]]
  binary, kept = fada.encode(logits, 'binary', 0.9)
  assert binary.shape == (1, 1, 3, 1) and binary.all() and kept.all()


@pytest.mark.parametrize('encoding', fada.METHOD.settings['encoding'].choices)
def test_losses_of_the_encodings(encoding):
  """Eqs. 1 and 4 to 6 by hand; with hard labels unsure pixels do not count."""
  config = tiny.config('fada', f'encoding={encoding}', 'clip=0.5')
  logits, answers = 3 * normal(2, 4, 6, K), normal(2, 4, 6, 2 * K)
  if encoding == 'binary':
    answers = answers[..., :2]
  shown = {'target': outputs({'main': logits}, np.zeros((2, 4, 6, 8), 'f4'))}
  given = context(config, lambda name, features: answers, shown)
  p, half = softmax(logits), answers.shape[-1] // 2
  log_d = np.log(softmax(answers))[..., :half]  # to pass for the source's
  per_pixel = {
    'binary': -log_d[..., 0],
    'soft': -(np.minimum(p, 0.5) * log_d[..., : p.shape[-1]]).sum(-1),
    'hard': -np.take_along_axis(log_d, p.argmax(-1)[..., None] % half, -1)[
      ..., 0
    ][p.max(-1) >= 0.5],
  }[encoding]
  found = fada.segmenter_losses(given)['adv_main']
  assert found == pytest.approx(per_pixel.mean(), rel=1e-5)


def test_nothing_sure_costs_nothing():
  none = np.zeros((1, 2, 2), bool)
  knowledge = np.ones((1, 2, 2, 3), np.float32)
  loss = losses.class_domain_loss(normal(1, 2, 2, 6), knowledge, 0.0, none)
  assert loss == 0
  assert losses.binary_cross_entropy(normal(1, 2, 2), 0.0, none) == 0


def test_class_vectors_by_loops():
  """Eq. 4, where an absent class is 0 / 0: here it is left out."""
  features, label = normal(2, 5, 7, 4), RNG.integers(0, 3, (2, 5, 7))
  label[0, :2], label[1] = 255, 2
  vectors, present = ass.class_vectors(features, jax.nn.one_hot(label, 4))
  for b in range(2):
    for k in range(4):
      members = features[b][label[b] == k]
      assert present[b, k] == bool(len(members))
      expected = members.mean(0) if len(members) else np.zeros(4)
      np.testing.assert_allclose(vectors[b, k], expected, atol=1e-5)


@pytest.mark.parametrize('semantics', ['vectors', 'pixels'])
def test_semantic_losses(semantics):
  """Eqs. 5 to 8: source k -> k, to hide k + c; labelled target k -> k + c."""
  config = tiny.config('ass', f'semantics={semantics}')
  features = {s: normal(2, 4, 6, 8) for s in ass.METHOD.streams}
  batch, wide = {}, normal(8, 2 * K)
  for stream in ('source', 'labelled'):
    label = RNG.integers(0, K, (2, 4, 6)).astype(np.uint8)
    label[0, :3] = 255
    batch[stream] = {'label': label}
  shown = {
    s: outputs({'main': normal(2, 4, 6, K)}, features[s])
    for s in ass.METHOD.streams
  }

  def discriminate(name, x):
    return x @ wide if name == 'semantic' else x.mean((1, 2, 3))

  given = context(config, discriminate, shown, batch)

  def expected(stream, offset):
    total = []
    for b in range(2):
      label = batch[stream]['label'][b]
      for k in np.unique(label[label < K]):
        vectors = features[stream][b][label == k]
        if semantics == 'vectors':
          vectors = vectors.mean(0, keepdims=True)
        total += list(-np.log(softmax(vectors @ wide)[:, k + offset]))
    return np.mean(total)

  hiding = ass.segmenter_losses(given)['adv_semantic']
  assert hiding == pytest.approx(expected('source', K), rel=1e-4)
  tell = ass.discriminator_losses(given)
  halves = expected('source', 0) / 2 + expected('labelled', K) / 2
  assert tell['d_semantic'] == pytest.approx(halves, rel=1e-4)
  if semantics == 'pixels':
    for stream, domain in (('source', 'source'), ('labelled', 'target')):
      p = softmax(features[stream] @ wide)[batch[stream]['label'] != 255]
      right = (p[:, :K] if domain == 'source' else p[:, K:]).sum(-1) > 0.5
      found = tell[f'd_semantic/{domain}_accuracy']
      assert found == pytest.approx(right.mean(), rel=1e-5)


@pytest.mark.parametrize('size', [(91, 160), (64, 128)])
def test_labels_shrink_as_pillows(size):
  label = RNG.integers(0, K, (1, 720, 1280)).astype(np.uint8)
  image = PIL.Image.fromarray(label[0])
  expected = image.resize(size[::-1], PIL.Image.Resampling.NEAREST)
  found = ass.downsample(jnp.array(label), size)[0]
  np.testing.assert_array_equal(found, np.asarray(expected))


def test_clans_weighted_loss():
  """FACTS of the original's code: its WeightedBCEWithLogitsLoss."""
  answers = np.array([[[-1, 0], [0.5, 2]]], np.float32)
  weight = np.array([[[0, 0.1], [0.2, 0.5]]], np.float32)
  for domain, value in ((0.0, 13.68668365), (1.0, 2.53668261)):
    found = clan.weighted_loss(answers, domain, weight, 0.4, 40.0)
    assert found == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize('step', [50, 51])
def test_clans_terms(step):
  """Plain loss until the preheat is over; both of its terms fade."""
  config = tiny.config('clan', 'optim.decay_steps=100', 'clan.preheat=50')
  shown = {
    stream: outputs(
      {'main': normal(2, 8, 8, K), 'aux': normal(2, 8, 8, K)}, None
    )
    for stream in ('source', 'target')
  }
  heads = {'layer5': {'a': normal(6)}, 'layer6': {'a': normal(6)}}
  answers = {}

  def discriminate(name, p):  # an answer a pixel
    for stream, one in shown.items():
      if np.allclose(p, softmax(one.logits['main'] + one.logits['aux'])):
        answers[stream] = 5 * np.asarray(p[..., 0]) - 1
        return jnp.array(answers[stream])
    raise AssertionError(name)

  given = context(
    config, discriminate, shown, params={'decoder': heads}, step=step
  )
  found = clan.segmenter_losses(given)
  p, q = (softmax(shown['target'].logits[head]) for head in ('main', 'aux'))

  def cosine(a, b):
    return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))

  weight = 0.4 + 40 * (1 - cosine(p, q)) if step > 50 else 1.0
  expected = (1 - step / 100) * (weight * bce(answers['target'], 0)).mean()
  assert found['adv_main'] == pytest.approx(expected, rel=1e-4)
  alike = 1 + cosine(heads['layer5']['a'], heads['layer6']['a'])
  assert found['heads'] == pytest.approx((1 - step / 100) * alike, rel=1e-4)
  told = clan.discriminator_losses(given)
  halves = {
    'd_main/source_loss': bce(answers['source'], 0).mean(),
    'd_main/source_accuracy': np.mean(answers['source'] < 0),
    'd_main/target_loss': (weight * bce(answers['target'], 1)).mean(),
    'd_main/target_accuracy': np.mean(answers['target'] > 0),
  }
  total = halves['d_main/source_loss'] + halves['d_main/target_loss']
  assert told == pytest.approx(halves | {'d_main': total}, rel=1e-4)


def test_twin_heads_predict_by_their_sum():
  net = experiment.segmenter(tiny.config('clan'))
  image = RNG.integers(0, 256, (1, 32, 48, 3), np.uint8)
  start = tiny.first_state('clan').segmenter
  params, stats = start.params, start.batch_stats

  @functools.partial(jax.jit, compiler_options=tiny.QUICK)
  def both_ways(image):
    variables = {'params': params, 'batch_stats': stats}
    shown = net.apply(variables, image, train=False)
    assert shown.main_features.shape[-1] == 32 * net.encoder.width
    return shown.logits, inference.logits(params, stats, image, net=net)

  heads, found = both_ways(image)
  np.testing.assert_allclose(found, heads['main'] + heads['aux'], atol=1e-6)
  kernel = params['decoder']['layer5']['conv2d_list_0']['kernel']
  assert kernel.shape[2] == 32 * net.encoder.width  # not layer3's


def test_semantics_need_labelled_images():
  with pytest.raises(UserError, match=r'labelled\.count=0 must be at least 1'):
    config_lib.check_values(tiny.config('ass', 'labelled.count=0'))
  config_lib.check_values(tiny.config('ass', 'labelled.count=None'))  # all
