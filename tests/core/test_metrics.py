"""Confusion matrices and IoU against loops, and by hand."""

import jax
import numpy as np
import pytest

from jaxuda import labels, metrics
from jaxuda.evaluation import counting
from jaxuda.evaluation import scores as scores_lib

RNG = np.random.default_rng(0)
count = jax.jit(metrics.confusion_matrix, static_argnums=2)


def random_batch(classes, shape=(2, 7, 9)):
  prediction = RNG.integers(0, classes, shape, np.int32)
  label = RNG.integers(0, classes, shape, np.uint8)
  label[RNG.random(shape) < 0.2] = 255
  return prediction, label


def loop(prediction, label, classes):
  counts = np.zeros((classes, classes), np.int64)
  for p, true in zip(prediction.ravel(), label.ravel(), strict=True):
    if true != 255:
      counts[true, p] += 1
  return counts


@pytest.mark.parametrize('classes', [1, 3, 11, 19])
def test_confusion_matrix(classes):
  prediction, label = random_batch(classes)
  counts = count(prediction, label, classes)
  assert counts.dtype == np.int32
  np.testing.assert_array_equal(counts, loop(prediction, label, classes))


def test_rows_are_labels():
  counts = count(np.array([2]), np.array([1], np.uint8), 3)
  assert np.argwhere(counts).tolist() == [[1, 2]]


@pytest.mark.parametrize('label', [3, 4, 254, 255])
def test_labels_out_of_range_are_not_counted(label):
  """None of them lands in another class's cell."""
  counts = count(np.arange(3), np.full(3, label, np.uint8), 3)
  assert counts.sum() == 0


def test_batches_add_up_to_the_whole():
  prediction, label = random_batch(5, (6, 4, 4))
  whole = count(prediction, label, 5)
  pairs = [slice(i, i + 2) for i in (0, 2, 4)]
  parts = sum(count(prediction[pair], label[pair], 5) for pair in pairs)
  np.testing.assert_array_equal(whole, parts)


def test_more_pixels_than_float32_counts():
  """2**24 + 3 in one cell: float32 would have stopped three earlier."""
  size = 2**24 + 3
  zeros = np.zeros(size, np.uint8)
  assert count(zeros, zeros, 2)[0, 0] == size


def test_sums_over_batches_do_not_overflow():
  """Three batches of 2**30 pixels: more than int32 holds."""
  batch = {
    'image': np.zeros(1, np.uint8),
    'label': np.zeros(1, np.uint8),
    'valid': np.array([True]),
  }
  total, images = counting.count_all(
    lambda *_: np.full((2, 2), 2**30, np.int32), {}, {}, [batch] * 3, dict
  )
  assert (total == 3 * 2**30).all() and images == 3


def test_iou_by_hand():
  counts = np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
  ious = metrics.iou(counts)
  np.testing.assert_allclose(ious[:2], [3 / 6, 4 / 7])
  assert np.isnan(ious[2])  # neither labelled nor predicted
  assert metrics.mean_iou(ious, range(3)) == pytest.approx((3 / 6 + 4 / 7) / 2)


def test_a_class_that_is_only_predicted_or_only_labelled_is_zero():
  assert metrics.iou(np.array([[5, 1], [0, 0]]))[1] == 0
  assert metrics.iou(np.array([[5, 0], [1, 0]]))[1] == 0


def test_the_mean_of_nothing():
  assert np.isnan(metrics.mean_iou(np.array([np.nan, 0.5]), [0]))
  assert np.isnan(metrics.mean_iou(metrics.iou(np.zeros((3, 3))), range(3)))


def test_iou_of_huge_counts():
  big = 10**12
  ious = metrics.iou(np.array([[big, 1], [0, big]]))
  assert ious[0] == pytest.approx(1 - 1 / (big + 1), abs=1e-13)


# SYNTHIA's 16 classes: 3 is wall, 4 fence, 5 pole.
THIRTEEN = (0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)


def test_means_over_16_and_13_classes():
  ious = RNG.random(16)
  means = metrics.means(ious, labels.space('synthia16').subsets)
  assert means == {
    'mIoU-16': pytest.approx(ious.sum() / 16),
    'mIoU-13': pytest.approx(ious[list(THIRTEEN)].sum() / 13),
  }
  ious[[3, 7]] = np.nan
  means = metrics.means(ious, labels.space('synthia16').subsets)
  assert means['mIoU-16'] == pytest.approx(np.nansum(ious) / 14)
  assert means['mIoU-13'] == pytest.approx(np.nansum(ious[list(THIRTEEN)]) / 12)


# CamVid's class for each of the 19, in their order; a wall counts nowhere.
CAMVID = (3, 4, 1, -1, 7, 2, 6, 6, 5, 5, 0, 9, 10, 8, 8, 8, 8, 10, 10)


def camvid_loop(prediction, label):
  """IoU of each of CamVid's 11 classes, pixel by pixel."""
  seen = np.array(CAMVID)[prediction]
  true = np.where(label == 255, -2, np.array(CAMVID)[np.minimum(label, 18)])
  ious = []
  for c in range(11):
    union = ((seen == c) & (true >= 0)) | (true == c)
    ious.append(((seen == c) & (true == c)).sum() / union.sum())
  return ious


def test_19_classes_scored_as_camvids_11():
  """A wall is an error wherever it is predicted; its label is not scored."""
  prediction, label = random_batch(19, (4, 40, 40))
  counts = np.array(count(prediction, label, 19), np.int64)
  scores = scores_lib.score(counts, 4, 'cityscapes19', 'camvid11')
  np.testing.assert_allclose(scores.ious, camvid_loop(prediction, label))
  assert scores.means == {'mIoU': pytest.approx(scores.ious.mean())}
  walls = (prediction == 3) & (label != 255) & (label != 3)
  assert scores.counts[:, -1].sum() == walls.sum()


def test_a_wall_counts_as_an_error_by_hand():
  """Two road pixels, one seen as road and one as wall: IoU 1/2."""
  counts = np.zeros((19, 19), np.int64)
  counts[0, 0] = counts[0, 3] = 1
  scores = scores_lib.score(counts, 1, 'cityscapes19', 'camvid11')
  assert scores.ious[3] == 0.5
  assert np.isnan(scores.ious[[0, 1, 2, 4, 5, 6, 7, 8, 9, 10]]).all()


def test_the_own_space_is_not_merged():
  counts = np.eye(19, dtype=np.int64)
  scores = scores_lib.score(counts, 1, 'cityscapes19', None)
  assert scores.headline == ('mIoU', 1.0) and scores.counts is counts


def test_absent_classes_are_shown_and_saved_as_such():
  counts = np.zeros((19, 19), np.int64)
  counts[0, 0] = counts[1, 0] = 1
  scores = scores_lib.score(counts, 1, 'cityscapes19', None)
  rows = scores_lib.table({'run': scores}).splitlines()
  cells = dict(row.rsplit(maxsplit=1) for row in rows if row.split()[1:])
  cells = {name.strip(): value for name, value in cells.items()}
  assert cells['road'] == '50.0' and cells['sidewalk'] == '0.0'
  assert cells['train'] == 'n/a' and cells['mIoU'] == '25.0'
  content = scores_lib.to_json(scores)
  assert content['iou']['train'] is None and content['means']['mIoU'] == 0.25
  assert scores_lib.from_json(content).means == scores.means
