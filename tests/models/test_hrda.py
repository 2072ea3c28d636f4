"""HRDA's segmenter: the fusion by hand, windows, and the crop's own terms."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from contexts import context, softmax

from jaxuda import experiment, forward
from jaxuda.methods import Example
from jaxuda.models import hrda, segmenter, windows
from jaxuda.utils.errors import UserError


def column(values):
  return jnp.asarray(values, jnp.float32)[None, ..., None]


def test_the_fusion_by_hand():
  """A crop that is the upper left of four cells; products before enlarging."""
  context = column([[0, 4], [8, 12]])
  attention = column([[0.5, 0.5], [0.25, 0]])
  detail = hrda.Detail(column([[10, 20], [30, 40]]), 0, 0)
  fused = hrda.fuse_crop(context, attention, detail, (8, 8))
  expected = [
    [5, 8.5, 3, 4],
    [13.25, 14.25, 5, 6],
    [6, 7, 9, 10],
    [8, 9, 11, 12],
  ]
  np.testing.assert_allclose(fused[0, ..., 0], expected, atol=1e-6)


def test_a_border_within_a_cell_is_rounded_down():
  """At stride 8 the context's cells have 16 pixels: 8 to 24 is the first."""
  detail = hrda.Detail(jnp.ones((1, 2, 2, 1)), 8, 16)
  fused = hrda.fuse_crop(
    jnp.zeros((1, 3, 3, 1)), jnp.ones((1, 3, 3, 1)), detail, (16, 16)
  )
  # The detail lies in rows 1 and 2, columns 2 and 3; attention is 1 in the cell
  # (0, 1), which is rows 0 and 1, columns 2 and 3, and fades to its neighbours.
  expected = np.zeros((6, 6))
  expected[1, 2:4] = 0.75 * 0.75
  expected[2, 2:4] = 0.25 * 0.75
  np.testing.assert_allclose(fused[0, ..., 0], expected, atol=1e-6)


def test_places_of_the_crop():
  """0, 8, ..., 504 of 1024 pixels; the last 8 are never reached."""
  keys = jax.random.split(jax.random.key(0), 4_000)
  tops, lefts = jax.vmap(
    lambda key: hrda.crop_place(key, (1024, 1024), (512, 512))
  )(keys)
  for drawn in (tops, lefts):
    assert set(drawn.tolist()) == set(range(0, 505, 8))
  assert not (tops == lefts).all()


def test_windows_of_the_published_sizes():
  assert windows.starts(1024, 512, 256) == [0, 256, 512]
  assert windows.starts(2048, 1024, 512) == [0, 512, 1024]
  assert windows.starts(1024, 1024, 512) == [0]
  assert windows.starts(100, 64, 32) == [0, 32, 36]


def test_windows_are_averaged():
  """Each cell is the mean of what the windows over it say."""
  x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 8, 12, 1)))

  def numbered(crops):
    assert crops.shape == (2 * 6, 4, 6, 1)
    number = jnp.repeat(jnp.arange(6.0), 2)[:, None, None, None]
    return crops[:, ::2, ::2] + number

  found = windows.average(x, (4, 6), (2, 6), numbered)
  total, count = np.zeros((2, 4, 6, 1)), np.zeros((4, 6, 1))
  for number, (top, left) in enumerate(
    (top, left) for top in (0, 2, 4) for left in (0, 6)
  ):
    crop = np.asarray(x)[:, top : top + 4 : 2, left : left + 6 : 2]
    at = (slice(top // 2, top // 2 + 2), slice(left // 2, left // 2 + 3))
    total[:, *at] += crop + number
    count[at] += 1
  np.testing.assert_allclose(found, total / count, atol=1e-6)


def test_windows_between_cells_are_refused():
  with pytest.raises(UserError, match='multiple of 4'):
    windows.average(
      jnp.zeros((1, 16, 16, 1)), (8, 8), (2, 8), lambda x: x[:, ::4, ::4]
    )
  with pytest.raises(UserError, match='not whole'):
    windows.average(
      jnp.zeros((1, 9, 9, 1)), (9, 9), (9, 9), lambda x: x[:, ::2, ::2]
    )


DETAIL = (
  'model.detail=(32,32)',
  'model.decoder.multi_level=False',
  'model.encoder.variant=v1c',  # whose sides are halved without a rest
  'model.align_corners=False',
)


@pytest.mark.parametrize('crop', [True, False])
def test_a_forward_pass_is_put_together_of_plain_ones(crop):
  """By the segmenter of one resolution, with the same variables."""
  config = tiny.config('source_only:encoder=resnet', *DETAIL)
  net = experiment.segmenter(config)
  shapes = segmenter.abstract(net)
  variables = tiny.drawn(shapes, seed=3)
  image = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
  rngs = {hrda.RNG: jax.random.key(5)} if crop else {}
  found = jax.jit(lambda v, x: net.apply(v, x, False, rngs=rngs))(
    variables, image
  )
  plain = net.clone(attention=None)

  @jax.jit
  def seen(x):
    return plain.apply(variables, x, False, method=plain.one_resolution)

  x = plain.apply(variables, image, method=plain.normalise)
  half = x.reshape(2, 32, 2, 48, 2, 3).mean((2, 4))
  features, logits, _ = seen(half)
  attention = net.apply(
    variables,
    method=lambda net: net.attention(features, False)[0]['main'],
  )
  attention = jax.nn.sigmoid(attention)
  if not crop:
    places = itertools.product((0, 16, 32), (0, 16, 32, 48, 64))
    high, count = np.zeros((2, 8, 12, 19)), np.zeros((8, 12, 1))
    for top, left in places:
      part = seen(x[:, top : top + 32, left : left + 32])[1]['main']
      at = (
        slice(top // 8, top // 8 + 4),
        slice(left // 8, left // 8 + 4),
      )
      high[:, *at] += part
      count[at] += 1
    expected = hrda.fuse(logits['main'], attention, high / count)
    assert found.detail is None
  else:
    detail = found.detail
    top, left = int(detail.top), int(detail.left)
    assert top % 8 == left % 8 == 0
    own = seen(x[:, top : top + 32, left : left + 32])[1]['main']
    np.testing.assert_allclose(detail.logits, own, atol=1e-4)
    expected = hrda.fuse_crop(logits['main'], attention, detail, (32, 32))
  np.testing.assert_allclose(found.logits['main'], expected, atol=1e-4)
  np.testing.assert_allclose(
    found.features['layer4'], features['layer4'], atol=1e-4
  )


def test_the_crop_has_its_part_of_the_labels():
  """seg_<input>_detail is the mean over the crop, weighted by its pixels."""
  config = tiny.config('hrda')
  rng = np.random.default_rng(0)
  label = rng.integers(0, 19, (2, 8, 12), np.uint8)
  label[0, 3] = 255
  weight = rng.random((2, 8, 12)).astype('f4')
  whole = rng.standard_normal((2, 8, 12, 19)).astype('f4')
  crop = rng.standard_normal((2, 4, 6, 19)).astype('f4')
  detail = hrda.Detail(jnp.asarray(crop), jnp.int32(2), jnp.int32(5))
  shown = segmenter.Outputs({'main': whole}, {}, whole, detail)
  ctx = dataclasses.replace(
    context(config, None, {'mixed': shown}),
    inputs={'mixed': Example(None, label, weight=weight)},
  )
  terms = forward.cross_entropies(ctx, {})

  def by_hand(logits, label, weight):
    p = softmax(logits)
    kept = label != 255
    of_label = np.take_along_axis(p, (label * kept)[..., None], -1)[..., 0]
    return (-np.log(of_label) * kept * weight).mean()

  assert terms.keys() == {'seg_mixed_main', 'seg_mixed_detail'}
  part = (slice(None), slice(2, 6), slice(5, 11))
  for name, expected in (
    ('main', by_hand(whole, label, weight)),
    ('detail', by_hand(crop, label[part], weight[part])),
  ):
    assert float(terms[f'seg_mixed_{name}']) == pytest.approx(expected, 1e-5)


@pytest.mark.parametrize('pixels', [1, 33, 70, 1000])
def test_windows_in_parts(pixels):
  """As many at a time as there is room for, one at least."""
  crops = np.random.default_rng(0).random((5, 4, 8, 2), np.float32)
  seen = []

  def function(x):
    seen.append(len(x))
    return x.sum((1, 2))

  found = windows.by_parts(crops, function, pixels)
  np.testing.assert_allclose(found, crops.sum((1, 2)), rtol=1e-6)
  assert max(seen) == {1: 1, 33: 1, 70: 2, 1000: 5}[pixels]
