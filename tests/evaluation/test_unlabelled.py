"""Label-free measures against NumPy, on a network that a test knows."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from jaxuda import config as config_lib
from jaxuda.evaluation import unlabelled
from jaxuda.models.segmenter import Outputs
from jaxuda.utils import files

C, SIZE = 19, (6, 8)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, *SIZE, 3), np.uint8)


class Decoder(nn.Module):
  def predicted(self, logits):
    return logits['main']


class Colours(nn.Module):
  """Logits of a pixel: its colour times the parameters."""

  align_corners: bool = False
  decoder: nn.Module = Decoder()

  def apply(self, variables, image, train):
    x = image.astype(jnp.float32) / 255
    # Not the same for the mirrored image: the column counts, too.
    column = jnp.arange(x.shape[2])[:, None] / 10
    logits = x @ variables['params']['w'] + column * variables['params']['b']
    return Outputs({'main': logits}, {}, None)


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def predict(params, image):
  column = np.arange(image.shape[1])[:, None] / 10
  return softmax(image / 255 @ params['w'] + column * params['b'])


def network(seed):
  rng = np.random.default_rng(seed)
  params = {
    'w': 9 * rng.standard_normal((3, C)).astype(np.float32),
    'b': 3 * rng.standard_normal(C).astype(np.float32),
  }
  return params, {}


@pytest.fixture
def measures(tmp_path, monkeypatch):
  """The measures of a run whose target is IMAGES."""
  monkeypatch.setattr(
    unlabelled.decode,
    'decoded',
    lambda records, indices, _: ({'image': IMAGES[i]} for i in indices),
  )
  monkeypatch.setattr(unlabelled.decode, 'decoder', lambda *_: None)

  class Records:
    def __len__(self):
      return len(IMAGES)

    def spread(self, count):
      assert count == len(IMAGES)  # all, where there are no more
      return list(range(count))

  config = config_lib.load('configs/dacs.py:streets')
  return unlabelled.Unlabelled(Colours(), config, Records(), tmp_path)


def test_the_measures(measures):
  student, teacher = network(0), network(1)
  found = measures.measure(5, student, teacher)
  p = np.stack([predict(student[0], image) for image in IMAGES])
  ids = p.argmax(-1)
  entropy = -(p * np.log(p)).sum(-1) / np.log(C)
  mirrored = np.stack([predict(student[0], x[:, ::-1]) for x in IMAGES])
  mirrored = mirrored.argmax(-1)[:, :, ::-1]
  others = np.stack([predict(teacher[0], x) for x in IMAGES]).argmax(-1)
  assert 0 < (ids == mirrored).mean() < 1  # or the test would not tell
  expected = {
    'target/entropy': entropy.mean(),
    'target/confident_share': (p.max(-1) >= 0.968).mean(),
    'target/flip_agreement': (ids == mirrored).mean(),
    'target/teacher_agreement': (ids == others).mean(),
  }
  for name, value in expected.items():
    assert found.pop(name) == pytest.approx(value, rel=1e-4), name
  assert found['share/road'] == pytest.approx((ids == 0).mean())
  assert found['share/traffic_light'] == pytest.approx((ids == 6).mean())
  assert sum(found.values()) == pytest.approx(1) and len(found) == C


def test_ensv(measures, tmp_path):
  """The mean of three networks labels the kept pixels."""
  networks = [network(seed) for seed in (0, 1, 2)]
  rng = np.random.default_rng(0)
  at = [rng.integers(0, SIZE[0] * SIZE[1], unlabelled.PIXELS) for _ in IMAGES]
  kept = np.stack(
    [
      np.concatenate(
        [
          predict(params, image).reshape(-1, C)[pixels]
          for image, pixels in zip(IMAGES, at, strict=True)
        ]
      )
      for params, _ in networks
    ]
  ).astype(np.float16)

  def agreement(k, among):
    proxy = kept[:among].astype(np.float32).sum(0).argmax(-1)
    return (kept[k].argmax(-1) == proxy).mean()

  rows = [
    measures.measure(100 * k, given) for k, given in enumerate(networks, 1)
  ]
  assert 'target/ensv' not in rows[0]  # it would agree with itself
  for k in (1, 2):
    # A tie of half-precision numbers may go either way.
    expected = pytest.approx(agreement(k, k + 1), abs=0.01)
    assert rows[k]['target/ensv'] == expected
  found = unlabelled.ensv(tmp_path / 'unlabelled')
  assert list(found) == [100, 200, 300]
  expected = [agreement(k, 3) for k in range(3)]
  np.testing.assert_allclose(list(found.values()), expected, atol=0.01)
  assert len(set(found.values())) == 3


def test_ensv_without_what_is_damaged_or_other(tmp_path, capsys):
  """By hand: two that agree in half of the pixels; a third would change it."""
  one = np.array([[0.9, 0.1], [0.2, 0.8]], np.float16)
  two = np.array([[0.6, 0.4], [0.9, 0.1]], np.float16)
  for step, kept in {10: one, 20: two, 30: two[:1], 40: two}.items():
    files.write_array(tmp_path / f'{step}.npz', kept)
  path = tmp_path / '10.npz'
  content = bytearray(path.read_bytes())
  content[-120] ^= 1
  (tmp_path / '50.npz').write_bytes(content)
  # The mean labels both pixels 0: (0.6 + 2 * 0.9) / 3 is more than a half.
  assert unlabelled.ensv(tmp_path) == {10: 0.5, 20: 1.0, 40: 1.0}
  said = capsys.readouterr().out
  assert f'{tmp_path}/50.npz is damaged' in said
  assert f'{tmp_path}/30.npz is of other images: it is left out' in said


def test_what_comes_later_is_forgotten(measures, tmp_path):
  for step in (5, 10, 15):
    measures.measure(step, network(step))
  (tmp_path / 'unlabelled' / '20.npz').mkdir()  # where a file should be
  measures.resume(10)
  assert not (tmp_path / 'unlabelled' / '20.npz').exists()
  assert list(unlabelled.ensv(tmp_path / 'unlabelled')) == [5, 10]
  assert unlabelled.ensv(tmp_path / 'nothing') == {}


def test_a_full_disk_costs_the_measure_alone(measures, tmp_path, caplog):
  (tmp_path / 'unlabelled').write_text('in the way')
  found = measures.measure(5, network(0))
  assert 'target/entropy' in found and 'target/ensv' not in found
  assert 'cannot write' in caplog.text
