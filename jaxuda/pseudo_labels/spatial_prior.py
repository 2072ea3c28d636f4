"""How frequent each class is at each place of the source's images (CBST-SP).

Zou et al., "Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training", ECCV 2018, section 4.3. Its prior was a file to
download, whose making is not in the code: the standard deviation of the
smoothing and the scale are our reading.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from jaxuda import labels
from jaxuda.datasets import images
from jaxuda.input import Records, decode
from jaxuda.utils import console


def count(
  records: Records, space: str, size: tuple[int, int], sigma: float
) -> np.ndarray:
  """Return the prior of a labelled split.

  Labels are brought to `size`, counted at each place, smoothed, divided by the
  sum of their class, and all of them by the largest value, so that it is 1.

  Args:
    records: the source's split.
    space: class space of the labels.
    size: (H, W) of the prior.
    sigma: standard deviation of the Gaussian, in shares of the height.

  Returns:
    f32[H, W, C]; zeros for a class that is nowhere.

  Raises:
    UserError: the split has no labels, or one cannot be decoded.
  """
  records.require_labels()
  classes, (height, width) = len(labels.space(space).classes), size
  counts = np.zeros((256, height * width), np.int32)
  place = np.arange(height * width)
  maps = decode.decoded(
    records, range(len(records)), decode.label_decoder(records, space)
  )
  title = f'{records.title}: class frequencies'
  with console.progress(title, len(records)) as advance:
    for label in maps:
      small = images.resize_label(Image.fromarray(label), size)
      counts[np.asarray(small).ravel(), place] += 1
      advance()
  frequent = counts[:classes].reshape(classes, height, width)
  return smoothed(frequent, sigma * height)


def smoothed(counts: np.ndarray, sigma: float) -> np.ndarray:
  """Return the prior of counts.

  Args:
    counts: [C, H, W], of labels.
    sigma: standard deviation of the Gaussian, pixels.

  Returns:
    f32[H, W, C].
  """
  blurred = ndimage.gaussian_filter(
    counts.astype(np.float64), (0, sigma, sigma), mode='nearest'
  )
  total = blurred.sum((1, 2), keepdims=True)
  prior = np.divide(blurred, total, np.zeros_like(blurred), where=total > 0)
  return np.moveaxis(prior / prior.max(), 0, -1).astype(np.float32)
