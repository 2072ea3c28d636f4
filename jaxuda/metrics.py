"""Confusion matrices on the device, intersection over union on the host."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxuda.labels import IGNORE

Array = jax.Array


def confusion_matrix(
  prediction: Array, label: Array, num_classes: int
) -> Array:
  """Count pixels by (label, prediction).

  Args:
    prediction: integer[...], class indices below `num_classes`.
    label: u8[...], class indices, 255 where ignored.
    num_classes: C.

  Returns:
    i32[C, C]: a batch's counts; sum batches as int64 on the host, because a
    validation set (1.05e9 pixels) times a few overflows int32 and float32
    stops counting at 2**24.
  """
  label = label.astype(jnp.int32)
  index = label * num_classes + prediction.astype(jnp.int32)
  index = jnp.where(label == IGNORE, num_classes**2, index)
  counts = jnp.zeros(num_classes**2, jnp.int32)
  counts = counts.at[index.ravel()].add(1, mode='drop')
  return counts.reshape(num_classes, num_classes)


def merge_confusion(
  counts: np.ndarray, classes: np.ndarray, num_classes: int
) -> np.ndarray:
  """Merge the counts into a coarser class space.

  Args:
    counts: i64[C, C], rows labels, columns predictions.
    classes: i32[C], each class's index in the coarser space, -1 where it has
      none (a prediction of it is an error, whatever the label).
    num_classes: K of the coarser space.

  Returns:
    i64[K, K + 1]; the last column counts predictions that have no place.
  """
  merged = np.zeros((num_classes, num_classes + 1), np.int64)
  rows = np.flatnonzero(classes >= 0)
  for row in rows:
    np.add.at(
      merged[classes[row]], np.where(classes < 0, -1, classes), counts[row]
    )
  return merged


def iou(counts: np.ndarray, absent: float = np.nan) -> np.ndarray:
  """Return the intersection over union of each class.

  Args:
    counts: i64[C, C] or [C, C + 1], see merge_confusion.
    absent: the value of a class that is neither labelled nor predicted; NaN is
      left out of means.

  Returns:
    f64[C].
  """
  counts = counts.astype(np.float64)
  c = counts.shape[0]
  hit = np.diagonal(counts)
  union = counts.sum(1) + counts[:, :c].sum(0) - hit
  with np.errstate(invalid='ignore'):
    return np.where(union > 0, hit / union, absent)


def mean_iou(ious: np.ndarray, classes: Sequence[int]) -> float:
  """Return the mean over those of `classes` that are not NaN; else NaN."""
  chosen = ious[list(classes)]
  return float(np.nanmean(chosen)) if np.isfinite(chosen).any() else np.nan


def means(
  ious: np.ndarray, subsets: Mapping[str, Sequence[int]]
) -> dict[str, float]:
  """Return {subset name: mean IoU} for the named subsets of a class space."""
  return {name: mean_iou(ious, classes) for name, classes in subsets.items()}
