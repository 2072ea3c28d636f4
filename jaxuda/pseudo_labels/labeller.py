"""A run's predictions on the images of a split, and which of them are kept."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxuda import experiment
from jaxuda import input as input_lib
from jaxuda.datasets import images
from jaxuda.evaluation import inference
from jaxuda.pseudo_labels import rules, spatial_prior
from jaxuda.utils import console, xla
from jaxuda.utils.errors import UserError

Array = jax.Array


def predict_one(
  params: dict,
  batch_stats: dict,
  image: Array,
  limits: Array,
  prior: Array | None = None,
  *,
  soft: float = 0.0,
  **inference_settings,
) -> dict[str, Array]:
  """Return the prediction on one image, divided by the classes' thresholds.

  Args:
    params, batch_stats: the segmenter's.
    image: u8[1, H, W, 3].
    limits: f32[C], the thresholds; ones where there are none yet.
    prior: f32[H, W, C], which p is multiplied by; None for none.
    soft: LRENT's alpha, 0 for hard labels.
    inference_settings: net, size, scales, flip and upsample of
      inference.probabilities.

  Returns:
    'label' u8[h, w], argmax_c p_c / limit_c; 'confidence' f32[h, w], p of that
    class; 'probability' f32[h, w], the same without the prior; 'passes'
    bool[h, w], whether that ratio is at least 1; 'entropy' f32[], in the mean
    over the pixels, 1 where p is uniform; and, if `soft` is not 0, 'soft'
    u8[C h, w], in 255ths.
  """
  [p] = inference.probabilities(
    params, batch_stats, image, **inference_settings
  )
  entropy = jax.scipy.special.entr(p).sum(-1).mean() / jnp.log(p.shape[-1])
  likely = p
  if prior is not None:
    p = p * jax.image.resize(prior, p.shape, 'linear')
  ratio = p / limits
  label = jnp.argmax(ratio, -1)

  def of_label(values):
    return jnp.take_along_axis(values, label[..., None], -1)[..., 0]

  prediction = {
    'label': label.astype(jnp.uint8),
    'confidence': of_label(p),
    'probability': of_label(likely),
    'passes': ratio.max(-1) >= 1,
    'entropy': entropy,
  }
  if soft:
    # The regularised loss of the soft label is below that of the thresholds
    # (reg_score < sel_score in crst_seg.py) where -alpha log(sum) is negative.
    odds = ratio ** (1 / soft)
    total = odds.sum(-1)
    shares = jnp.round(255 * odds / total[..., None]).astype(jnp.uint8)
    shares = jnp.moveaxis(shares, -1, 0)
    prediction['passes'] = total > 1
    prediction['soft'] = shares.reshape(-1, shares.shape[-1])
  return prediction


@functools.cache  # there are several passes over a dataset
def _jitted(net, size, soft, scales, flip, upsample):
  return xla.jit(
    functools.partial(
      predict_one,
      net=net,
      size=size,
      soft=soft,
      scales=scales,
      flip=flip,
      upsample=upsample,
    )
  )


class PseudoLabeller:
  """A run that labels the images of one split, in their order.

  Args:
    run: that predicts.
    records: the split.
    chosen: of rules.settings.

  Attributes:
    predicted: i64[C], how often each class was the likeliest, before any
      threshold; None before `thresholds` has looked at the images, which no
      rule without thresholds does.
  """

  def __init__(
    self,
    run: experiment.Run,
    records: input_lib.Records,
    chosen: dict[str, Any],
  ):
    self.run, self.records, self.chosen = run, records, chosen
    self.num_classes = len(run.space.classes)
    self.predicted: np.ndarray | None = None
    self._variables = jax.device_put((run.params, run.batch_stats))
    self._prior = jax.device_put(self._spatial_prior())

  def predictions(
    self, title: str, limits: np.ndarray, soft: float = 0.0
  ) -> Iterator[dict[str, np.ndarray]]:
    """Yield `predict_one` of each image, on the host."""
    keys = ('scales', 'flip', 'upsample')
    settings = (soft, *(self.chosen[k] for k in keys))
    limits = jax.device_put(np.asarray(limits, np.float32))
    with (
      input_lib.prefetch(self._images(), self._put) as ready,
      console.progress(title, len(self.records)) as advance,
    ):
      for size, image in ready:
        predict = _jitted(self.run.net, size, *settings)
        found = predict(*self._variables, image, limits, self._prior)
        yield jax.device_get(found)
        advance()

  def thresholds(self) -> np.ndarray:
    """Return the rule's f64[C]; two passes over the images, none for argmax."""
    titles = iter(('first pass', 'second pass'))
    unweighted = np.ones(self.num_classes)

    def iterate():
      counts = np.zeros(self.num_classes, np.int64)
      for prediction in self.predictions(next(titles), unweighted):
        label = prediction['label']
        counts += np.bincount(label.ravel(), minlength=self.num_classes)
        yield label, prediction['confidence']
      self.predicted = counts

    return rules.thresholds(iterate, self.num_classes, self.chosen)

  def labels(self, limits: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Yield the prediction on each image with 'keep', bool[h, w]."""
    is_ratio = rules.is_ratio(self.chosen['rule'])
    weights = limits if is_ratio else np.ones(self.num_classes)
    soft = self.chosen.get('soft', 0.0)
    for prediction in self.predictions('labels', weights, soft):
      reached = prediction['confidence'] >= limits[prediction['label']]
      keep = prediction['passes'] if is_ratio else reached
      yield prediction | {'keep': keep}

  def _spatial_prior(self):
    """Return the prior of the run's source, None where none is asked for."""
    sigma = self.chosen.get('spatial_prior')
    if not sigma:
      return None
    config = self.run.config
    source = config.source
    size = self.chosen['input'] or config.eval.size or self.records.size
    if size is None:
      raise UserError(
        f'{self.records.title}: a spatial prior needs a size, and the images '
        'have their own: give --input=HxW, config.pseudo.input.'
      )
    records = input_lib.open_records(
      source.name, source.size, source.split, config.data_dir
    )
    return spatial_prior.count(records, config.classes, size, sigma)

  def _images(self):
    stream = input_lib.Stream(self.records, None, 1, shuffle=False)
    batches = input_lib.train_batches({'target': stream}, seed=0)
    for _ in range(len(self.records)):
      yield next(batches)['target']['image'][0]

  def _put(self, image):
    """Its own size, and the image at the size that the network sees."""
    size = self.chosen['input'] or self.run.config.eval.size
    fitted = images.resize_image(Image.fromarray(image), size)
    return image.shape[:2], jax.device_put(np.asarray(fitted)[None])
