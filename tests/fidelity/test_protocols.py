"""Evaluation protocols of the originals, computed again in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxuda.evaluation import counting, inference
from jaxuda.evaluation import scores as scores_lib
from jaxuda.models.decoders import deeplab_v2
from jaxuda.models.segmenter import Outputs

SIZE, LABEL = (33, 49), (40, 58)  # the label keeps its own size


class Maps:
  """In a segmenter's place: logits that are a function of the image alone."""

  num_classes, align_corners = 19, True
  decoder = deeplab_v2.Decoder(19, (), (), 0, summed=False)

  def apply(self, variables, image, train):
    del variables, train
    x = jnp.asarray(image, jnp.float32)[:, ::8, ::8] / 32
    waves = jnp.sin(x @ MIX + jnp.arange(19.0)) * 4
    return Outputs({'main': waves}, {}, 'none')


MIX = np.random.default_rng(0).standard_normal((3, 19)).astype('f4')
RNG = np.random.default_rng(1)
IMAGE = RNG.integers(0, 256, (2, *SIZE, 3), np.uint8)
TRUE = RNG.integers(0, 17, (2, *LABEL), np.uint8)  # two classes are missing
TRUE[:, :9] = 255


def logits(image):
  outputs = Maps().apply(None, image, False)
  return np.asarray(outputs.logits['main'], np.float64)


def resize(x, size):
  """torch's bilinear interpolation with aligned corners, pixel by pixel."""
  b, h, w, c = x.shape
  y = np.empty((b, *size, c))
  for i in range(size[0]):
    for j in range(size[1]):
      u = i * (h - 1) / (size[0] - 1)
      v = j * (w - 1) / (size[1] - 1)
      a, d = min(int(u), h - 2), min(int(v), w - 2)
      u, v = u - a, v - d
      top = x[:, a, d] * (1 - v) + x[:, a, d + 1] * v
      low = x[:, a + 1, d] * (1 - v) + x[:, a + 1, d + 1] * v
      y[:, i, j] = top * (1 - u) + low * u
  return y


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def advent():
  """eval_UDA.py: logits enlarged, then argmax."""
  return resize(logits(IMAGE), LABEL)


def bdl():
  """evaluation.py: probabilities enlarged."""
  return resize(softmax(logits(IMAGE)), LABEL)


def many(scales, of, average):
  """Several scales of the input, rounded down, each also mirrored."""
  parts = []
  for scale in scales:
    size = tuple(int(side * scale) for side in SIZE)
    x = resize(IMAGE.astype(np.float64), size)
    parts.append(of(resize(logits(x), LABEL)))
    mirrored = of(resize(logits(x[:, :, ::-1]), LABEL))
    parts.append(mirrored[:, :, ::-1])
  return average(parts, axis=0)


def fada():
  """test.py, its multi-scale test: the mean of the probabilities."""
  return many((0.7, 1.0, 1.3), softmax, np.mean)


def crst():
  """crst_seg.py: the mean of the logits."""
  return many((0.9, 1.0, 1.2), lambda x: x, np.mean)


PROTOCOLS = {
  advent: {},
  bdl: {'upsample': 'probabilities'},
  fada: {
    'scales': (0.7, 1.0, 1.3),
    'flip': True,
    'missing_class_iou': 'zero',
  },
  crst: {
    'scales': (0.9, 1.0, 1.2),
    'flip': True,
    'average': 'logits',
    'missing_class_iou': 'zero',
  },
}


def counts_by_hand(prediction):
  counts = np.zeros((19, 19), np.int64)
  for t, p in zip(TRUE.ravel(), prediction.ravel(), strict=True):
    if t != 255:
      counts[t, p] += 1
  return counts


@pytest.mark.slow
@pytest.mark.parametrize('by_hand', PROTOCOLS, ids=lambda f: f.__name__)
def test_protocols(by_hand):
  """Counts of every pixel, but for float32's ties, and the means."""
  config = tiny.config('source_only').eval
  config.update(PROTOCOLS[by_hand])
  mesh = jax.make_mesh((1,), ('data',))
  count = counting.make_count(Maps(), config, mesh)
  ours = np.asarray(count({}, {}, IMAGE, TRUE), np.int64)
  expected = counts_by_hand(by_hand().argmax(-1))
  assert ours.sum() == expected.sum() == (TRUE != 255).sum()
  assert abs(ours - expected).sum() <= 6
  # The protocols are told apart: each predicts other classes somewhere.
  for other in PROTOCOLS.keys() - {by_hand}:
    assert abs(expected - counts_by_hand(other().argmax(-1))).sum() > 20

  found = scores_lib.score(
    expected, 2, 'cityscapes19', None, config.missing_class_iou
  )
  hit = np.diag(expected)
  union = expected.sum(0) + expected.sum(1) - hit
  if config.missing_class_iou == 'zero':
    mean = (hit / np.maximum(union, 1)).sum() / 19
  else:
    mean = (hit[union > 0] / union[union > 0]).mean()
  assert found.means['mIoU'] == pytest.approx(mean)


def test_a_missing_class():
  """IoU 1 of the only class there is: the mean of 19 is 1 or 1/19."""
  counts = np.zeros((19, 19), np.int64)
  counts[4, 4] = 10
  excluded, zero = (
    scores_lib.score(counts, 1, 'cityscapes19', None, missing)
    for missing in ('excluded', 'zero')
  )
  assert excluded.means['mIoU'] == 1
  assert zero.means['mIoU'] == pytest.approx(1 / 19)
  again = scores_lib.from_json(scores_lib.to_json(zero))
  assert again.means['mIoU'] == pytest.approx(1 / 19, abs=1e-6)


def test_without_aligned_corners():
  """DAFormer's line: each pixel's middle, not the map's corners."""
  net = Maps()
  net.align_corners = False
  p = inference.one_view({}, {}, IMAGE, net=net, size=LABEL)
  small = logits(IMAGE)
  expected = np.empty((2, *LABEL, 19))
  for i in range(LABEL[0]):
    for j in range(LABEL[1]):
      u = np.clip((i + 0.5) * small.shape[1] / LABEL[0] - 0.5, 0, None)
      v = np.clip((j + 0.5) * small.shape[2] / LABEL[1] - 0.5, 0, None)
      a, d = int(u), int(v)
      b, e = (
        min(k + 1, n - 1) for k, n in zip((a, d), small.shape[1:3], strict=True)
      )
      u, v = u - a, v - d
      top = small[:, a, d] * (1 - v) + small[:, a, e] * v
      low = small[:, b, d] * (1 - v) + small[:, b, e] * v
      expected[:, i, j] = top * (1 - u) + low * u
  np.testing.assert_allclose(p, softmax(expected), atol=1e-5)
