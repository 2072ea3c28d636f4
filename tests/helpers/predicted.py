"""Predictions of a small random network, as files and by NumPy."""

import functools

import jax
import numpy as np
import trained
from PIL import Image

from jaxuda.evaluation.predictor import Predictor

KINDS = ('ids', 'color', 'overlay', 'entropy')
SEEN = (32, 64)  # the size at which the network sees every image


def network():
  """A run with a clear opinion."""
  return trained.network('source_only', f'eval.size={SEEN}', clear=10)


@functools.cache
def plain():
  """Its predictor without further settings."""
  return Predictor(network())


def written(folder, name):
  pictures = {k: Image.open(folder / f'{name}_{k}.png') for k in KINDS}
  modes = {k: picture.mode for k, picture in pictures.items()}
  assert modes == {
    'ids': 'L',
    'color': 'RGB',
    'overlay': 'RGB',
    'entropy': 'RGB',
  }
  return {k: np.asarray(picture) for k, picture in pictures.items()}


@functools.partial(jax.jit, static_argnums=0)
def _apply(net, variables, image):
  return net.apply(variables, image, train=False)


def by_hand(run, image, size, seen=None):
  """Probabilities f64[h, w, C] by NumPy, from the logits.

  Args:
    run: the network.
    image: u8[H, W, 3].
    size: (h, w).
    seen: (height, width) at which the network sees it, by default SEEN.
  """
  height, width = seen or SEEN
  small = Image.fromarray(image).resize((width, height), Image.BICUBIC)
  variables = {'params': run.params, 'batch_stats': run.batch_stats}
  logits = _apply(run.net, variables, np.asarray(small)[None]).logits['main']
  logits = np.asarray(logits[0], np.float64)
  for axis, side in enumerate(size):
    at = np.linspace(0, logits.shape[axis] - 1, side)
    low = np.minimum(at.astype(int), max(logits.shape[axis] - 2, 0))
    high = np.minimum(low + 1, logits.shape[axis] - 1)
    part = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
    logits = (
      logits.take(low, axis) * (1 - part) + logits.take(high, axis) * part
    )
  p = np.exp(logits - logits.max(-1, keepdims=True))
  return p / p.sum(-1, keepdims=True)
