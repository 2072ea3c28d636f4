"""Three iterations of DACS, written out in NumPy with a network of two layers.

A 3x3 convolution with ReLU, and a 1x1 convolution; the teacher, its labels and
their weight, the mixture, both cross entropies, their gradients, SGD with
momentum, and the teacher's update. Only which classes are pasted comes from the
same random numbers.
"""

import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tiny

from jaxuda import optim, step
from jaxuda.methods import dacs
from jaxuda.models.segmenter import INPUT_NORMS, Segmenter
from jaxuda.state import Nets, NetworkState, TrainState, Txs

CLASSES, WIDTH, BATCH, SIZE = 19, 5, 2, (6, 8)
RATE, MOMENTUM, DECAY = 0.05, 0.9, 5e-4
THRESHOLD, KEPT, MARGINS = 0.07, 0.6, (1, 2)
SEED = 5


class Encoder(nn.Module):
  @nn.compact
  def __call__(self, x, train):
    return {'map': nn.relu(nn.Conv(WIDTH, (3, 3), name='conv')(x))}


class Decoder(nn.Module):
  @nn.compact
  def __call__(self, features, train):
    logits = nn.Conv(CLASSES, (1, 1), name='conv_seg')(features['map'])
    return {'main': logits}, features['map']


def config():
  """Return a config whose own network is not used, but for groups by path."""
  given = tiny.config(
    'dacs',
    'strong.jitter=0.0',
    'strong.blur=False',
    f'teacher.threshold={THRESHOLD}',
    f'teacher.decay={KEPT}',
    f'teacher.margins={MARGINS}',
    'ce_reduction=pixels',
    f'seed={SEED}',
  )
  given.model.encoder.name, given.model.decoder.name = 'vgg16', 'daformer'
  return given


def batches():
  rng = np.random.default_rng(1)
  for _ in range(3):
    label = rng.integers(0, CLASSES, (BATCH, *SIZE), np.uint8)
    label[:, :2] = 255
    source, target = rng.integers(0, 256, (2, BATCH, *SIZE, 3), np.uint8)
    yield {
      'source': {'image': source, 'label': label},
      'target': {'image': target},
    }


def softmax(z):
  e = np.exp(z - z.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def windows(x):
  """f[B, H, W, C] -> f[B, H, W, 9 C], what a padded 3x3 kernel sees."""
  wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  h, w = x.shape[1:3]
  parts = [wide[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
  return np.concatenate(parts, -1)


def forward(p, image):
  """Return logits, and what the gradients need of the way to them."""
  norm = INPUT_NORMS['torchvision']
  x = (np.float64(image) / 255 - norm.mean) / norm.std
  seen = windows(x)
  before = seen @ p['conv'].reshape(-1, WIDTH) + p['conv_bias']
  hidden = np.maximum(before, 0)
  return hidden @ p['seg'] + p['seg_bias'], (seen, before, hidden)


def gradients(p, image, label, weight):
  """Return the gradients of the mean of weighted cross entropies."""
  z, (seen, before, hidden) = forward(p, image)
  mask = label != 255
  safe = np.where(mask, label, 0)
  one_hot = np.eye(CLASSES)[safe]
  g = (softmax(z) - one_hot) * (mask * weight)[..., None] / label.size
  back = (g @ p['seg'].T) * (before > 0)
  axes = ([0, 1, 2], [0, 1, 2])
  return {
    'seg': np.tensordot(hidden, g, axes),
    'seg_bias': g.sum((0, 1, 2)),
    'conv': np.tensordot(seen, back, axes).reshape(p['conv'].shape),
    'conv_bias': back.sum((0, 1, 2)),
  }


def pasted_classes(label, iteration):
  """Draw ceil(n / 2) of the batch's labels for each image."""
  present = [
    c for c in range(20) if (np.where(label == 255, 19, label) == c).any()
  ]
  at_step = jax.random.fold_in(jax.random.key(SEED), iteration)
  for i in range(BATCH):
    name = zlib.crc32(b'mixed classes')
    key = jax.random.fold_in(jax.random.fold_in(at_step, i), name)
    drawn = np.asarray(jax.random.uniform(key, (20,)))
    order = sorted(present, key=lambda c: drawn[c])
    yield [255 if c == 19 else c for c in order[: -(-len(present) // 2)]]


def by_hand(p, each, iteration, teacher, momentum):
  """Return the parameters, the teacher and the momentum after an iteration."""
  source, target = each['source'], each['target']['image']
  label = source['label']
  certain = softmax(forward(teacher, target)[0])
  taught = certain.argmax(-1)
  share = (certain.max(-1) >= THRESHOLD).mean()
  assert 0 < share < 1
  weight = np.full(label.shape, share)
  weight[:, : MARGINS[0]] = weight[:, SIZE[0] - MARGINS[1] :] = 0
  chosen = pasted_classes(label, iteration)
  m = np.stack([np.isin(y, c) for y, c in zip(label, chosen, strict=True)])
  mixed = np.where(m[..., None], source['image'], target)
  g_source = gradients(p, source['image'], label, np.ones(label.shape))
  g_mixed = gradients(
    p, mixed, np.where(m, label, taught), np.where(m, 1, weight)
  )
  new, buffers = {}, {}
  for name in p:
    g = g_source[name] + g_mixed[name] + DECAY * p[name]
    buffers[name] = MOMENTUM * momentum[name] + g
    new[name] = p[name] - RATE * buffers[name]
  keep = min(1 - 1 / (iteration + 2), KEPT)
  teacher = {n: keep * teacher[n] + (1 - keep) * new[n] for n in p}
  return new, teacher, buffers


def as_tree(p):
  leaves = {
    'encoder': {'conv': {'kernel': p['conv'], 'bias': p['conv_bias']}},
    'decoder': {
      'conv_seg': {'kernel': p['seg'][None, None], 'bias': p['seg_bias']}
    },
  }
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), leaves)


def test_three_iterations():
  rng = np.random.default_rng(0)
  p = {
    'conv': rng.normal(0, 0.2, (3, 3, 3, WIDTH)),
    'conv_bias': rng.normal(0, 0.1, WIDTH),
    'seg': rng.normal(0, 0.3, (WIDTH, CLASSES)),
    'seg_bias': rng.normal(0, 0.1, CLASSES),
  }
  net = Segmenter(
    Encoder(), Decoder(), 'torchvision', CLASSES, align_corners=False
  )
  tx = optim.sgd(lambda _: RATE, MOMENTUM, DECAY)
  params = as_tree(p)
  empty = optax.identity()
  current = TrainState(
    step=jnp.int32(0),
    segmenter=NetworkState(params, {}, tx.init(params)),
    discriminators=NetworkState({}, {}, empty.init({})),
    skipped=jnp.int32(0),
    skipped_in_row=jnp.int32(0),
    ema=NetworkState(params, {}, ()),
  )
  run = jax.jit(
    lambda state, batch: step.train_step(
      state,
      batch,
      {'rng': jax.random.key_data(jax.random.key(SEED))},
      nets=Nets(net, {}, teacher=True),
      txs=Txs(tx, empty),
      method=dacs.METHOD,
      config=config(),
    )
  )
  teacher, momentum = p, {name: np.zeros_like(x) for name, x in p.items()}
  for iteration, each in enumerate(batches()):
    p, teacher, momentum = by_hand(p, each, iteration, teacher, momentum)
    current, measured = run(current, each)
    assert measured['skipped'] == 0
    for found, expected in (
      (current.segmenter.params, p),
      (current.ema.params, teacher),
      (optax.tree.get(current.segmenter.opt_state, 'trace'), momentum),
    ):
      jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        found,
        as_tree(expected),
      )
