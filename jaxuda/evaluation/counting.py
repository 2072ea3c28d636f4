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
from jaxuda.utils import sharding, xla


def make_count(
  net: Segmenter | Ensemble, eval_config, mesh: jax.sharding.Mesh
) -> Callable:
  """Return the jitted count(params, batch_stats, image, label) -> i32[C, C].

  Args:
    net: the segmenter, or an ensemble of several.
    eval_config: `config.eval`; see inference.protocol.
    mesh: of the devices.
  """
  return _jitted_count(net, mesh, **inference.protocol(eval_config))


@functools.cache  # the stages of a run share it
def _jitted_count(net, mesh, **protocol):
  if tuple(protocol['scales']) == (1.0,) and not protocol['flip']:
    # The largest logit has the largest probability, and costs less.
    predict = functools.partial(
      inference.upsampled, net=net, upsample=protocol['upsample']
    )
  else:
    predict = functools.partial(inference.probabilities, net=net, **protocol)

  def count(params, batch_stats, image, label):
    maps = predict(params, batch_stats, image, size=label.shape[1:3])
    return metrics.confusion_matrix(
      jnp.argmax(maps, -1), label, net.num_classes
    )

  return xla.jit(count, out_shardings=sharding.replicated(mesh))


def count_all(
  count: Callable,
  params: dict | tuple,
  batch_stats: dict | tuple,
  batches: Iterable[dict],
  put: Callable,
) -> tuple[np.ndarray, int]:
  """Return the summed counts of all batches, and the number of images.

  Args:
    count: of `make_count`.
    params, batch_stats: the segmenter's; of an ensemble a tuple of each.
    batches: of input.eval_batches.
    put: of sharding.shard_batch.

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
