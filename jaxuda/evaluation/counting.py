"""Confusion counts of whole splits, computed on the devices."""

import functools
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np

from jaxuda import metrics
from jaxuda.evaluation import inference
from jaxuda.models.ensemble import Ensemble
from jaxuda.models.segmenter import Segmenter
from jaxuda.utils import sharding


def make_count(
  net: Segmenter | Ensemble, eval_config, mesh: jax.sharding.Mesh
) -> Callable:
  """Return the jitted count(params, batch_stats, image, label) -> i32[C, C].

  Args:
    net: the segmenter, or an ensemble of several.
    eval_config: `config.eval`; how the network is asked.
    mesh: of the devices.
  """
  how = ('scales', 'flip', 'average', 'upsample')
  return _jitted_count(net, mesh, **{key: eval_config[key] for key in how})


@functools.cache  # the stages of a run share it
def _jitted_count(net, mesh, scales, flip, average, upsample):
  one_view = tuple(scales) == (1.0,) and not flip
  if one_view:
    # The largest logit has the largest probability; to know it costs less.
    see = functools.partial(inference.upsampled, net=net, upsample=upsample)
  else:
    see = functools.partial(
      inference.probabilities,
      net=net,
      scales=scales,
      flip=flip,
      average=average,
      upsample=upsample,
    )

  def count(params, batch_stats, image, label):
    maps = see(params, batch_stats, image, size=label.shape[1:3])
    return metrics.confusion_matrix(
      jnp.argmax(maps, -1), label, net.num_classes
    )

  return jax.jit(count, out_shardings=sharding.replicated(mesh))


def count_all(
  count: Callable,
  params: dict,
  batch_stats: dict,
  batches: Iterable[dict],
  put: Callable,
) -> tuple[np.ndarray, int]:
  """Return the summed counts of all batches, and the number of images.

  Args:
    count: of `make_count`.
    params, batch_stats: the segmenter's.
    batches: of input.eval_batches.
    put: moves arrays to the devices.

  Returns:
    i64[C, C] and the number of images, both of all processes.
  """
  total, images = 0, 0
  for batch in batches:
    arrays = put({k: batch[k] for k in ('image', 'label')})
    counts = count(params, batch_stats, arrays['image'], arrays['label'])
    total = total + np.asarray(jax.device_get(counts), np.int64)
    images += int(batch['valid'].sum())
  return total, sharding.sum_of_processes(images)
